// Questions answered in two stages (Role-Play Prompting, arXiv 2308.07702): the answer, then, where the task has a
// trigger, the trigger behind it in the assistant's own turn and a few tokens more, from which the bare answer is read.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trainer/eval/generator.h"
#include "trainer/eval/prompter.h"

namespace spt {

struct Question {
  size_t number = 0;  // tells questions apart
  std::vector<int32_t> prompt;
  std::vector<int32_t> trigger;   // empty: one stage
  bool begins_with_role = false;  // that was given at the head of the assistant's turn: what is written is no role
};

struct Answer {
  RoleAndAnswer text;
  std::string conclusion;  // what was written behind the trigger
  int64_t tokens = 0;      // of the output, its role too
  bool cut = false;        // the limit ended it
};

struct AnswerConfig {
  int64_t max_new_tokens = 512;    // behind the role: or the role would eat the budget
  int64_t conclusion_tokens = 32;  // behind the trigger
  bool forbid_role = false;        // the output may not begin with the token that a role begins with
  BatchLimits limits;
};

// The same on all tp ranks.
struct QuestionStream {
  std::function<std::optional<Question>(bool wait)> next;  // as SequenceStream's
  std::function<void(size_t, const Answer&)> done;         // with the question's number, as each ends
  std::function<bool()> go_on;                             // asked before each step; false ends all
};

// Greedy.
void answer(CausalLm& model, const Prompter& prompter, int32_t eos, const AnswerConfig& config,
            const QuestionStream& stream);

}  // namespace spt
