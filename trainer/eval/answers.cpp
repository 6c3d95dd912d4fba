#include "trainer/eval/answers.h"

#include <map>

namespace spt {
namespace {

class Answering {
 public:
  Answering(const Prompter& prompter, const AnswerConfig& config, const QuestionStream& stream)
      : prompter_(prompter), config_(config), stream_(stream) {}

  std::optional<Prompt> next(bool wait) {
    std::optional<Question> question = stream_.next(wait);
    if (!question) return std::nullopt;
    const bool forbid = config_.forbid_role && !question->begins_with_role;
    Prompt prompt{std::move(question->prompt), question->number, forbid ? prompter_.role_begin() : std::nullopt};
    asked_[question->number] = {std::move(*question), std::nullopt};
    return prompt;
  }

  std::optional<FollowUp> take(size_t number, const Continuation& continuation) {
    auto& [question, waiting] = asked_.at(number);
    if (waiting) {
      waiting->conclusion = prompter_.text(continuation.ids);
      return finish(number, *waiting);
    }
    const auto written = static_cast<int64_t>(continuation.ids.size());
    if (!continuation.stopped && !continuation.full && !question.begins_with_role) {
      if (const int64_t more = still_allowed(continuation.ids) - written; more > 0) return FollowUp{{}, more};
    }
    Answer answer;
    answer.text = prompter_.split(continuation.ids);
    if (question.begins_with_role) {
      answer.text.role.reset();
      answer.text.answer = answer.text.output;
    }
    answer.tokens = written;
    answer.cut = !continuation.stopped;
    if (question.trigger.empty()) return finish(number, answer);
    waiting = std::move(answer);
    return FollowUp{question.trigger, config_.conclusion_tokens};
  }

 private:
  std::optional<FollowUp> finish(size_t number, const Answer& answer) {
    stream_.done(number, answer);
    asked_.erase(number);
    return std::nullopt;
  }

  // How long an output may become that is `ids` so far.
  int64_t still_allowed(const std::vector<int32_t>& ids) const {
    if (prompter_.may_become_role(ids)) return static_cast<int64_t>(ids.size()) + 1;  // looked at after each token
    return config_.max_new_tokens + prompter_.role_tokens(ids);
  }

  struct Asked {
    Question question;
    std::optional<Answer> waiting;  // for what is written behind the trigger
  };

  const Prompter& prompter_;
  const AnswerConfig& config_;
  const QuestionStream& stream_;
  std::map<size_t, Asked> asked_;  // under way, by number
};

}  // namespace

void answer(CausalLm& model, const Prompter& prompter, int32_t eos, const AnswerConfig& config,
            const QuestionStream& stream) {
  Answering answering(prompter, config, stream);
  SamplingConfig greedy;
  greedy.max_new_tokens = config.max_new_tokens;
  generate(model, eos, greedy, config.limits,
           {[&](bool wait) { return answering.next(wait); },
            [&](const Prompt& prompt, const Continuation& made) { return answering.take(prompt.number, made); },
            [&] { return !stream.go_on(); }});
}

}  // namespace spt
