#include "trainer/eval/fenced_block.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <sstream>

namespace spt {
namespace {

struct Fence {
  char mark = 0;
  size_t length = 0;
  size_t indent = 0;
  std::string word;  // what follows, in lower case
};

std::optional<Fence> fence(const std::string& line) {
  Fence found;
  found.indent = indentation(line);
  if (found.indent == line.size() || (line[found.indent] != '`' && line[found.indent] != '~')) return std::nullopt;
  found.mark = line[found.indent];
  const size_t end = std::min(line.find_first_not_of(found.mark, found.indent), line.size());
  found.length = end - found.indent;
  if (found.length < 3 || line.find('`', end) != std::string::npos) return std::nullopt;
  std::istringstream(line.substr(end)) >> found.word;
  std::transform(found.word.begin(), found.word.end(), found.word.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return found;
}

bool of_python(const std::string& word) {
  static const std::array<std::string, 5> kWords = {"", "python", "python3", "py", "{python}"};
  return std::find(kWords.begin(), kWords.end(), word) != kWords.end();
}

}  // namespace

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(line);
  }
  return lines;
}

size_t indentation(const std::string& line) {
  return std::min(line.find_first_not_of(" \t"), line.size());
}
bool blank(const std::string& line) {
  return indentation(line) == line.size();
}

std::optional<Lines> first_code_block(const Lines& lines) {
  std::optional<Fence> open;
  Lines block;
  for (const std::string& line : lines) {
    const std::optional<Fence> here = fence(line);
    if (!open) {
      open = here;
    } else if (here && here->mark == open->mark && here->length >= open->length && here->word.empty()) {
      if (of_python(open->word)) return block;
      open.reset();
      block.clear();
    } else {  // a fence in a list takes its block along to the right
      block.push_back(line.substr(std::min(open->indent, indentation(line))));
    }
  }
  if (open && of_python(open->word)) return block;
  return std::nullopt;
}

}  // namespace spt
