#include "trainer/eval/answers.h"

#include <map>

namespace spt {
namespace {

class Answering {
 public:
  Answering(const Prompter& prompter, const std::vector<Question>& questions, const AnswerConfig& config,
            const std::function<void(size_t, const Answer&)>& done)
      : prompter_(prompter), questions_(questions), config_(config), done_(done) {}

  std::optional<Prompt> next() {
    if (begun_ == questions_.size()) return std::nullopt;
    const size_t i = begun_++;
    const bool forbid = config_.forbid_role && !questions_[i].role_is_given;
    return Prompt{questions_[i].prompt, i, forbid ? prompter_.role_begin() : std::nullopt};
  }

  std::optional<FollowUp> take(size_t i, const Continuation& continuation) {
    const Question& question = questions_[i];
    if (const auto waiting = concluding_.find(i); waiting != concluding_.end()) {
      waiting->second.conclusion = prompter_.text(continuation.ids);
      done_(i, waiting->second);
      concluding_.erase(waiting);
      return std::nullopt;
    }
    const auto written = static_cast<int64_t>(continuation.ids.size());
    if (!continuation.stopped && !question.role_is_given) {
      if (const int64_t more = still_allowed(continuation.ids) - written; more > 0) return FollowUp{{}, more};
    }
    Answer answer;
    answer.text = prompter_.split(continuation.ids);
    if (question.role_is_given) {
      answer.text.role.reset();
      answer.text.answer = answer.text.output;
    }
    answer.tokens = written;
    answer.cut = !continuation.stopped;
    if (question.trigger.empty()) {
      done_(i, answer);
      return std::nullopt;
    }
    concluding_[i] = std::move(answer);
    return FollowUp{question.trigger, config_.conclusion_tokens};
  }

 private:
  // How long an output may become that is `ids` so far.
  int64_t still_allowed(const std::vector<int32_t>& ids) const {
    if (prompter_.may_become_role(ids)) return static_cast<int64_t>(kMaxRoleTokens);
    return config_.max_new_tokens + prompter_.role_tokens(ids);
  }

  const Prompter& prompter_;
  const std::vector<Question>& questions_;
  const AnswerConfig& config_;
  const std::function<void(size_t, const Answer&)>& done_;
  size_t begun_ = 0;
  std::map<size_t, Answer> concluding_;  // those behind their trigger
};

}  // namespace

void answer(CausalLm& model, const Prompter& prompter, int32_t eos, const std::vector<Question>& questions,
            const AnswerConfig& config, const std::function<bool()>& go_on,
            const std::function<void(size_t, const Answer&)>& done) {
  Answering answering(prompter, questions, config, done);
  SamplingConfig greedy;
  greedy.max_new_tokens = config.max_new_tokens;
  generate(model, eos, greedy, config.limits,
           {[&] { return answering.next(); },
            [&](const Prompt& prompt, const Continuation& made) { return answering.take(prompt.number, made); },
            [&] { return !go_on(); }});
}

}  // namespace spt
