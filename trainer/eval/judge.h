// How a model is asked which of two answers to a question is better, and how its reply is read: a YAML file
// (configs/judges/lima.yaml shows and explains every key).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/chat.h"
#include "data/field_text.h"
#include "data/tokenizer_pattern.h"

namespace spt {

// Of the two answers as they were shown.
enum class Verdict { kFirst, kSecond, kTie };
inline std::vector<std::pair<std::string, Verdict>> enum_names(Verdict) {
  return {{"first", Verdict::kFirst}, {"second", Verdict::kSecond}, {"tie", Verdict::kTie}};
}

// The file's keys as written.
struct JudgeConfig {
  struct Reading {
    std::string pattern, first = "A", second = "B", tie = "tie";
    template <class F>
    void fields(F& f) {
      f("pattern", pattern, "a regular expression for a reply's last line; its first group is the verdict");
      f("first", first, "the verdict for the first answer");
      f("second", second, "the verdict for the second answer");
      f("tie", tie, "the verdict for neither");
    }
    void validate(std::vector<std::string>& errors) const;
  };

  std::string system, prompt, correction;
  Reading verdict;
  int64_t attempts = 3, max_new_tokens = 512;

  template <class F>
  void fields(F& f) {
    f("system", system, "what the judge is told first");
    f("prompt", prompt, "text with {question}, {first} and {second} in it, and {mark}");
    f("correction", correction, "after a reply without a verdict: text with {fault} in it");
    f("verdict", verdict, "");
    f("attempts", attempts, "how often a pair is asked for in one order, at most");
    f("max_new_tokens", max_new_tokens, "limit of a reply");
  }
  void validate(std::vector<std::string>& errors) const;
};

class Judge {
 public:
  // A name in configs/judges or a file. Throws BadInput naming file and line: unknown keys, a placeholder that is
  // missing or unknown, a regular expression that is none.
  static Judge load(const std::string& name_or_file);

  const std::string& name() const { return name_; }  // as it was given
  const JudgeConfig& config() const { return config_; }
  const std::string& sha256() const { return sha256_; }  // of the file

  struct Question {
    std::string text, first, second;  // the answers in the order in which they are shown
  };
  // A reply without a verdict.
  struct Refused {
    std::string reply, fault;
  };
  // The conversation that asks for a verdict after `refused` replies.
  ChatPrompt prompt(const Question& question, const std::vector<Refused>& refused) const;

  // What the last line of a reply that is not empty says. `fault`: why there is no verdict, as a clause that follows
  // "because".
  struct Reading {
    std::optional<Verdict> verdict;
    std::string fault;
  };
  Reading read(const std::string& reply) const;

 private:
  Judge(std::string name, std::string sha256, JudgeConfig config);

  std::string name_, sha256_;
  JudgeConfig config_;
  FieldText prompt_, correction_;
  Regex pattern_;
};

}  // namespace spt
