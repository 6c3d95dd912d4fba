// From a model's answer to a HumanEval task to the program that scores it.
#pragma once

#include <optional>
#include <string>

namespace spt {

enum class CodeRule {
  kFencedFunction,  // the first fenced block, which defines the function
  kFencedBody,      // the first fenced block, the rest of the function that the prompt begins
  kFunction,        // no block: from the function, or what it needs above it, to the first line of prose
  kBody             // no block, no function: the first indented lines, the rest of the function
};
std::string to_string(CodeRule rule);

struct ExtractedCode {
  CodeRule rule = CodeRule::kBody;
  std::string code;  // a whole module: what the prompt has above the function (imports, helpers) and the function
};

// The code of an answer, its role dropped, or nothing. `prompt` is the task's own field: it ends inside the function
// `entry_point`. A fenced block is one of ``` or ~~~, without a language or with Python's; blocks of other languages
// are passed over; one that is cut off goes to the end. Bodies may be indented in any way; the first line's own
// indentation may be lost.
std::optional<ExtractedCode> extract_code(const std::string& answer, const std::string& prompt,
                                          const std::string& entry_point);

// The program that reaches its end if and only if the code passes the task's tests.
std::string humaneval_program(const std::string& code, const std::string& test, const std::string& entry_point);

}  // namespace spt
