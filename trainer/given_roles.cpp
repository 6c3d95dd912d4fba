#include "trainer/given_roles.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/read_file.h"
#include "data/ablation.h"

namespace spt {

namespace fs = std::filesystem;
using nlohmann::json;

GivenRoles::GivenRoles(const std::string& role, const fs::path& from, const ChatTemplate* chat_template)
    : from_(from), template_(chat_template) {
  static const std::map<std::string, Kind> kKinds = {{"self", Kind::kSelf},   {"none", Kind::kNone},
                                                     {"task", Kind::kTask},   {"generic", Kind::kText},
                                                     {"other", Kind::kOther}, {"filler", Kind::kFiller}};
  const std::string prefix = chat_template != nullptr ? chat_template->role_prefix() : "You are";
  if (const auto known = kKinds.find(role); known != kKinds.end()) {
    kind_ = known->second;
    if (role == "generic") text_ = generic_role(prefix);
  } else {
    kind_ = Kind::kText;
    text_ = role;
    std::error_code error;
    if (!role.starts_with(prefix)) {
      if (!fs::is_regular_file(role, error))
        throw BadInput(
            fmt::format("eval.role is '{}': expected self, none, task, generic, other, filler, a text that begins with "
                        "'{}', or a file with such a text",
                        role, prefix));
      text_ = read_file(role);
      text_.erase(text_.find_last_not_of(" \t\r\n") + 1);
      if (!text_.starts_with(prefix))
        throw BadInput(fmt::format("eval.role: the text in {} does not begin with '{}', as a role does", role, prefix));
    }
    if (text_.find("\n\n") != std::string::npos) throw BadInput("eval.role: a role has no blank line in it");
  }
  const bool needs_from = kind_ == Kind::kOther || kind_ == Kind::kFiller;
  if (needs_from && from.empty())
    throw BadInput(fmt::format(
        "eval.role={} needs eval.roles_from: a finished evaluation in which the model wrote its own", role));
  if (!needs_from && !from.empty())
    throw BadInput(fmt::format("eval.roles_from is for eval.role other and filler, not {}", role));
  if (kind_ == Kind::kNone && template_ == nullptr)
    throw BadInput("eval.role=none needs a chat template: eval.template is none");
  if (kind_ == Kind::kFiller && template_ == nullptr)
    throw BadInput("eval.role=filler needs a chat template: eval.template is none");
}

std::map<std::string, std::optional<std::string>> GivenRoles::written(const Task& task) const {
  const fs::path file = from_ / "samples" / (task.name + ".jsonl");
  if (std::error_code error; !fs::exists(file, error))
    throw BadInput(fmt::format("eval.roles_from: {} did not measure task {}: {} is not there", from_.string(),
                               task.name, file.string()));
  const std::string text = read_file(file);
  std::map<std::string, std::optional<std::string>> roles;
  int64_t line = 1;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1, ++line) {
    const json sample = json::parse(text.substr(begin, end - begin), nullptr, false);
    if (!sample.is_object() || !sample.contains("id") || !sample["id"].is_string() || !sample.contains("role"))
      throw BadInput(fmt::format("{}:{}: is no sample with a role (eval.roles_from)", file.string(), line));
    const json& role = sample["role"];
    roles[sample["id"]] = role.is_string() ? std::optional(role.get<std::string>()) : std::nullopt;
  }
  return roles;
}

std::vector<std::optional<std::string>> GivenRoles::of(const Task& task, const std::vector<TaskItem>& items,
                                                       const Tokenizer& tokenizer) const {
  std::vector<std::optional<std::string>> roles(items.size());
  if (kind_ == Kind::kSelf || kind_ == Kind::kNone) return roles;
  if (kind_ == Kind::kText || kind_ == Kind::kTask) {
    if (kind_ == Kind::kTask && task.role.empty())
      throw BadInput(fmt::format("eval.role=task: the file of task {} has no role", task.name));
    for (size_t i = 0; i < items.size(); ++i) roles[i] = kind_ == Kind::kTask ? items[i].role : text_;
    return roles;
  }
  const auto own = written(task);
  std::vector<size_t> with_role;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto found = own.find(items[i].id);
    if (found == own.end())
      throw BadInput(
          fmt::format("eval.roles_from: {} has no sample {} of task {}", from_.string(), items[i].id, task.name));
    if (!found->second) continue;
    with_role.push_back(i);
    roles[i] = found->second;
  }
  if (kind_ == Kind::kFiller) {
    for (const size_t i : with_role) {
      Record record;
      record.turns = {items[i].prompt, "A"};
      record.role = roles[i];
      roles[i] = filler_role(record, *template_, tokenizer);
    }
    return roles;
  }
  // Each goes to the item before: a rotation, so that no item keeps its own.
  if (with_role.size() < 2)
    throw BadInput(
        fmt::format("eval.role=other: fewer than 2 items of task {} have a role in {}", task.name, from_.string()));
  const std::optional<std::string> first = roles[with_role.front()];
  for (size_t k = 0; k + 1 < with_role.size(); ++k) roles[with_role[k]] = roles[with_role[k + 1]];
  roles[with_role.back()] = first;
  return roles;
}

}  // namespace spt
