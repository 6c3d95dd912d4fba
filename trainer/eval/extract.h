// What a text answers: the first thing of the kind that a task asks for (as Role-Play Prompting, arXiv 2308.07702,
// reads answers). Nothing found is said, never guessed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace spt {

struct Extracted {
  std::string
      value;  // in the form of normalised gold answers: "B", "18", "yes", or a pattern's group without blanks around it
  std::string rule;  // that found it, for the sample's record
};

// A way to read answers, as a task names it: number, letter, yes_no, or a regular expression whose first group (without
// one, whose match) is the answer.
class Extractor {
 public:
  // Throws BadInput: a regular expression that does not compile.
  explicit Extractor(std::string name);

  // letter: the first of the first `options` capitals (at most 26) that stands alone or in parentheses. number: commas
  // dropped, the first -?\d+\.?\d*, trailing zeros and point gone. yes_no: in lower case, punctuation as spaces, the
  // first of the two words. `text` must be UTF-8.
  std::optional<Extracted> find(std::string_view text, int64_t options) const;

 private:
  std::string name_;
};

// "1,200.50" → "1200.5"; nullopt: no number begins it.
std::optional<std::string> first_number(std::string_view written);

}  // namespace spt
