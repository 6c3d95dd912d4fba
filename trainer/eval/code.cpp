#include "trainer/eval/code.h"

#include <algorithm>
#include <regex>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "trainer/eval/fenced_block.h"

namespace spt {
namespace {

constexpr size_t kLongest = 500;  // of a line that is looked at by std::regex, which recurses for every character

std::string joined(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

bool begins(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

// `def NAME(`, at the left edge.
bool defines(const std::string& line, const std::string& name) {
  const std::string start = line.rfind("async ", 0) == 0 ? "async def " : "def ";
  if (!begins(line, start + name)) return false;
  const size_t next = line.find_first_not_of(' ', start.size() + name.size());
  return next != std::string::npos && line[next] == '(';
}
Lines::const_iterator definition(const Lines& lines, const std::string& name) {
  return std::find_if(lines.begin(), lines.end(), [&](const std::string& line) { return defines(line, name); });
}

// A line at the left edge that can only be code that a function needs.
bool declares(const std::string& line) {
  static const std::regex kPattern(
      R"(import [\w.]+( as \w+)?(, *[\w.]+( as \w+)?)*\s*(#.*)?|from [\w.]+ import .*|(async )?def \w+ *\(.*|class \w+.*:.*|@\w.*)");
  return line.size() <= kLongest && std::regex_match(line, kPattern);
}

// ---- Functions and bodies ---------------------------------------------------------------------------------

bool closes(const std::string& line) {
  return line[0] == ')' || line[0] == ']' || line[0] == '}';
}

// The function without a fence: from the first declaration to the first line at the left edge that is none.
std::optional<Lines> bare_function(const Lines& lines, const std::string& name) {
  const auto function = definition(lines, name);
  if (function == lines.end()) return std::nullopt;
  const auto first = std::find_if(lines.begin(), function, declares);
  Lines found;
  for (auto line = first; line != lines.end(); ++line) {
    const bool part = blank(*line) || indentation(*line) > 0 || declares(*line) || closes(*line) || (*line)[0] == '#';
    if (!part && line > function) break;
    if (part) found.push_back(*line);
  }
  return found;
}

// A statement whose indentation was lost; prose begins with such words too, but seldom ends so.
bool statement(const std::string& line) {
  static const std::regex kPattern(
      R"((for .* in .*|while .*|if .*|with .*|try *):.*|return\b.*|(from|import) \w.*|[\w.,\[\] ]+? *[-+*/%|&]?= *[^=].*|""".*|#.*|(async )?def \w+ *\(.*)");
  return line.size() <= kLongest && std::regex_match(line, kPattern);
}

// The run of lines that the first indented line begins, with a statement before it that lost its indentation.
std::optional<Lines> bare_body(const Lines& lines) {
  auto first = std::find_if(lines.begin(), lines.end(), [](const std::string& line) { return !blank(line); });
  if (first == lines.end()) return std::nullopt;
  if (indentation(*first) == 0 && !statement(*first)) {
    first =
        std::find_if(first, lines.end(), [](const std::string& line) { return !blank(line) && indentation(line) > 0; });
    if (first == lines.end()) return std::nullopt;
  }
  Lines found = {*first};
  const bool indented = indentation(*first) > 0;
  for (auto line = first + 1; line != lines.end(); ++line) {
    if (!blank(*line) && indentation(*line) == 0 && (indented || !statement(*line)) && !closes(*line)) break;
    found.push_back(*line);
  }
  while (blank(found.back())) found.pop_back();
  return found;
}

// Where a first line at the left edge stood before its indentation was lost: 0 when it stands there rightly.
size_t lost_indentation(const Lines& body) {
  size_t next = 0, least = std::string::npos;
  for (size_t i = 1; i < body.size(); ++i) {
    if (blank(body[i])) continue;
    if (least == std::string::npos) next = indentation(body[i]);
    least = std::min(least, indentation(body[i]));
  }
  if (least == std::string::npos) return 0;
  const bool opens =
      body[0].find_last_not_of(" \t") != std::string::npos && body[0][body[0].find_last_not_of(" \t")] == ':';
  if (opens) return least < next ? least : 0;
  return next;
}

// The body with `indent` before each statement of its first level.
Lines reindented(Lines body, const std::string& indent) {
  body.erase(body.begin(),
             std::find_if(body.begin(), body.end(), [](const std::string& line) { return !blank(line); }));
  if (indentation(body[0]) == 0) body[0].insert(0, lost_indentation(body), ' ');
  const size_t own = indentation(body[0]);
  for (std::string& line : body)
    if (!blank(line)) line.replace(0, std::min(own, indentation(line)), indent);
  return body;
}

struct PromptParts {
  std::string above;   // imports and helpers
  std::string indent;  // of the function's body
};

PromptParts parts(const std::string& prompt, const std::string& entry_point) {
  const Lines lines = lines_of(prompt);
  const auto function = definition(lines, entry_point);
  PromptParts found;
  found.above = joined({lines.begin(), function});
  const auto inside = std::find_if(function == lines.end() ? function : function + 1, lines.end(),
                                   [](const std::string& line) { return indentation(line) > 0 && !blank(line); });
  found.indent = inside == lines.end() ? "    " : inside->substr(0, indentation(*inside));
  return found;
}

// `from __future__ import …` has to be the first statement of a module.
std::string with_function(const std::string& above, const Lines& function) {
  std::string future, rest;
  for (const std::string& line : function) (begins(line, "from __future__ ") ? future : rest) += line + "\n";
  return future + above + rest;
}

}  // namespace

std::string to_string(CodeRule rule) {
  switch (rule) {
    case CodeRule::kFencedFunction:
      return "fenced function";
    case CodeRule::kFencedBody:
      return "fenced body";
    case CodeRule::kFunction:
      return "function";
    case CodeRule::kBody:
      return "body";
  }
  return "";
}

std::optional<ExtractedCode> extract_code(const std::string& answer, const std::string& prompt,
                                          const std::string& entry_point) {
  const Lines lines = lines_of(answer);
  const PromptParts given = parts(prompt, entry_point);
  const auto function = [&](CodeRule rule, const Lines& found) {
    return ExtractedCode{rule, with_function(given.above, found)};
  };
  const auto body = [&](CodeRule rule, const Lines& found) {
    return ExtractedCode{
        rule, prompt + (prompt.empty() || prompt.back() == '\n' ? "" : "\n") + joined(reindented(found, given.indent))};
  };
  if (const auto block = first_code_block(lines)) {
    if (std::all_of(block->begin(), block->end(), blank)) return std::nullopt;
    return definition(*block, entry_point) != block->end() ? function(CodeRule::kFencedFunction, *block)
                                                           : body(CodeRule::kFencedBody, *block);
  }
  if (const auto found = bare_function(lines, entry_point)) return function(CodeRule::kFunction, *found);
  if (const auto found = bare_body(lines)) return body(CodeRule::kBody, *found);
  return std::nullopt;
}

std::string humaneval_program(const std::string& code, const std::string& test, const std::string& entry_point) {
  return fmt::format("{}\n\n{}\n\ncheck({})\n", code, test, entry_point);
}

}  // namespace spt
