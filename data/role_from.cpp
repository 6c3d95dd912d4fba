#include "data/role_from.h"

#include <fstream>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "base/error.h"
#include "data/annotated_file.h"
#include "data/output_file.h"
#include "data/records.h"
#include "data/tokenizer_pattern.h"

namespace spt {
namespace {

using nlohmann::ordered_json;

constexpr const char* kPrefix = "You are";

std::string on_one_line(const std::string& text) {
  std::istringstream stream(text);
  std::string line;
  for (std::string word; stream >> word;) line += (line.empty() ? "" : " ") + word;
  return line;
}

void check_wording(const std::string& wording) {
  const size_t at = wording.find("{}");
  if (!wording.starts_with(kPrefix) || at == std::string::npos || wording.find("{}", at + 1) != std::string::npos ||
      find_blank_line(wording))
    throw BadInput(
        fmt::format("--role-wording is '{}', expected a text that begins with \"{}\", has {{}} in it once "
                    "and no blank line",
                    wording, kPrefix));
}

// The field of a record; empty where it has none.
std::string description_of(const ordered_json& record, const RoleFromConfig& config, int64_t line) {
  const auto found = record.find(config.field);
  if (found == record.end() || found->is_null()) return "";
  if (!found->is_string())
    throw BadInput(fmt::format("{}:{}: --role-from: \"{}\" must be a text, this is a {}", config.input.string(), line,
                               config.field, found->type_name()));
  return on_one_line(found->get<std::string>());
}

}  // namespace

std::string role_from(const std::string& description, const std::string& wording) {
  std::string text = on_one_line(description);
  if (!text.ends_with('.') && !text.ends_with('!') && !text.ends_with('?')) text += '.';
  if (text.starts_with(kPrefix)) return text;
  for (const char* article : {"A ", "An ", "The "})
    if (text.starts_with(article)) text[0] = static_cast<char>(text[0] + ('a' - 'A'));
  std::string role = wording;
  return role.replace(role.find("{}"), 2, text);
}

std::optional<std::string> third_person_in(const std::string& role) {
  static const Regex kPattern(R"((?i)(?<=[.,;:!?] )(they|their|he|she|his|her)\b[^.,;:!?]*)");
  const std::vector<Span> found = kPattern.find_all(role);
  if (found.empty()) return std::nullopt;
  return role.substr(found[0].begin, found[0].end - found[0].begin);
}

RoleFromStatistics write_roles_from(const RoleFromConfig& config) {
  check_wording(config.wording);
  if (config.limit < 0) throw BadInput(fmt::format("--limit is {}, must be at least 0 (all)", config.limit));
  check_output(config.out, "--out", {config.input});
  if (!config.force) refuse_existing(config.out);
  RoleFromStatistics statistics;
  std::vector<NewRole> roles;
  const std::string annotation = ordered_json{{"from", config.field}, {"wording", config.wording}}.dump();
  RecordReader reader(config.input, {});
  std::ifstream raw(config.input, std::ios::binary);
  std::string text;
  int64_t line = 0, last_line = 0;
  while (const auto record = reader.next()) {
    if (config.limit > 0 && statistics.records == config.limit) continue;  // read all the same: it may be broken
    while (line < record->line && std::getline(raw, text)) ++line;
    last_line = line;
    ++statistics.records;
    const std::string description = description_of(ordered_json::parse(text), config, line);
    if (record->role && !config.replace) {
      ++statistics.kept;
    } else if (description.empty()) {
      ++statistics.no_role;
    } else {
      roles.push_back({line, role_from(description, config.wording), annotation});
      ++statistics.roles;
      if (const auto clause = third_person_in(roles.back().role); clause && ++statistics.third_person == 1)
        statistics.third_person_example = fmt::format("{}:{}: \"… {} …\"", config.input.string(), line, *clause);
    }
  }
  if (statistics.roles == 0 && statistics.no_role > 0)
    throw BadInput(fmt::format("--role-from: no record of {} has a field \"{}\" with text in it", config.input.string(),
                               config.field));
  write_annotated_file(config.input, partial_of(config.out), roles, last_line);
  rename_durable(partial_of(config.out), config.out);
  return statistics;
}

}  // namespace spt
