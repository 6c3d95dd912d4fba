// eval.role: what role prompt stands in front of an answer at test time, when it is not the model's own.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "trainer/eval/task.h"
#include "trainer/eval/task_items.h"

namespace spt {

class GivenRoles {
 public:
  // `role`: self (the model writes it), none (it may not), task (the task file's), generic (an expert in the field),
  // other (what the model wrote for another question of the task, in the evaluation `from`), filler (words that say
  // nothing, as many tokens as its own role in `from`), else a text that begins with the role prefix, or a file with
  // one. Throws BadInput: another word; a file that is not there; `from` missing or not needed.
  GivenRoles(const std::string& role, const std::filesystem::path& from, const ChatTemplate* chat_template);

  bool is_forbidden() const { return kind_ == Kind::kNone; }

  // One an item; nullopt where none is given (self, none, and of other and filler items without a role of their own).
  // Throws BadInput: the task file has no role; `from` lacks the task or an item.
  std::vector<std::optional<std::string>> of(const Task& task, const std::vector<TaskItem>& items,
                                             const Tokenizer& tokenizer) const;

 private:
  enum class Kind { kSelf, kNone, kTask, kText, kOther, kFiller };
  std::map<std::string, std::optional<std::string>> written(const Task& task) const;  // by id, in `from`

  Kind kind_;
  std::string text_;
  std::filesystem::path from_;
  const ChatTemplate* template_;
};

}  // namespace spt
