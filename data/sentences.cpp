#include "data/sentences.h"

namespace spt {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

std::vector<std::string_view> sentences_of(std::string_view text) {
  std::vector<std::string_view> sentences;
  size_t begin = 0;
  bool ended = false;  // the sentence has its full stop
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((is_space(c) && ended) || c == '\n') {
      while (i + 1 < text.size() && is_space(text[i + 1])) ++i;
      sentences.push_back(text.substr(begin, i + 1 - begin));
      begin = i + 1;
      ended = false;
    } else {
      ended = c == '.' || c == '!' || c == '?' || (ended && (c == '"' || c == '\'' || c == ')' || c == ']'));
    }
  }
  if (begin < text.size()) sentences.push_back(text.substr(begin));
  return sentences;
}

}  // namespace spt
