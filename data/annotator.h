// How a model is asked for a record's role prompt, and which answers pass: a YAML file
// (configs/annotators/role_prompt.yaml shows and explains every key).
//
// The conversation: the system text; the worked example as a first question and answer; the record's first question
// (never its answer). An answer that fails a check goes back as the assistant's turn, followed by `correction`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/chat.h"
#include "data/records.h"
#include "data/tokenizer_pattern.h"

namespace spt {

// The file's keys as written.
struct AnnotatorConfig {
  struct Example {
    std::string question, role;
    template <class F>
    void fields(F& f) {
      f("question", question, "a question as a record has it");
      f("role", role, "its role prompt");
    }
  };
  struct Checks {
    std::string prefix = "You are";
    int64_t min_words = 25, max_words = 120;
    std::vector<std::string> refusals, not_a_role;
    int64_t max_sentences = 6, repeated_words = 8, answer_words = 8;
    template <class F>
    void fields(F& f) {
      f("prefix", prefix, "how every role begins");
      f("min_words", min_words, "words of the shortest role");
      f("max_words", max_words, "words of the longest role");
      f("max_sentences", max_sentences, "sentences of the longest role");
      f("repeated_words", repeated_words, "this many words in a row that stand in a role twice are repetition; 0: any");
      f("refusals", refusals, "regular expressions that find a refusal");
      f("not_a_role", not_a_role, "regular expressions that find what is more than a role");
      f("answer_words", answer_words, "this many words in a row of the record's answer are answer text; 0: any");
    }
    void validate(std::vector<std::string>& errors) const;
  };
  struct Neutral {
    std::string role;
    std::vector<std::string> answers, ids;
    template <class F>
    void fields(F& f) {
      f("role", role, "for records that refuse, written by hand");
      f("answers", answers, "regular expressions that find such a record by its first answer");
      f("ids", ids, "records that are such by id");
    }
  };

  std::string system, question, correction;
  Example example;
  int64_t attempts = 3, max_new_tokens = 256;
  Checks checks;
  Neutral neutral;

  template <class F>
  void fields(F& f) {
    f("system", system, "what the model is told first");
    f("example", example, "");
    f("question", question, "how a question is put: text with {question} in it");
    f("correction", correction, "after an answer that does not pass: text with {fault} in it");
    f("attempts", attempts, "how often a record is asked for, at most");
    f("max_new_tokens", max_new_tokens, "limit of an answer");
    f("checks", checks, "");
    f("neutral", neutral, "");
  }
  void validate(std::vector<std::string>& errors) const;
};

class Annotator {
 public:
  // A name in configs/annotators or a file. Throws BadInput naming file and line: unknown keys, a missing placeholder,
  // a regular expression that is none, an example or a neutral role that does not pass the file's own checks.
  explicit Annotator(const std::string& name_or_file);

  const AnnotatorConfig& config() const { return config_; }
  const std::string& sha256() const { return sha256_; }  // of the file

  // The conversation that asks for the record's role after `refused` answers and their faults.
  struct Refused {
    std::string text, fault;
  };
  ChatPrompt prompt(const Record& record, const std::vector<Refused>& refused) const;

  // Why an answer (without white space around it) cannot be the record's role, as a clause that follows "because";
  // nothing where it can.
  std::optional<std::string> fault_of(const std::string& role, const Record& record) const;

  // The role written by hand, where the record is one of those that get it.
  std::optional<std::string> neutral_role(const Record& record) const;

 private:
  std::optional<std::string> fault_of_form(const std::string& role) const;

  AnnotatorConfig config_;
  std::string sha256_;
  std::vector<Regex> refusals_, not_a_role_, neutral_answers_;
};

}  // namespace spt
