// Conversations from JSON lines, read one line at a time. Blank lines are skipped; fields that are not named here are
// ignored.
//
//   lima      {"conversations": [user, assistant, user, …]}
//   messages  {"messages": [{"role": "system" | "user" | "assistant", "content": text}, …]}
//   sharegpt  {"conversations": [{"from": "system" | "human" | "gpt", "value": text}, …]}; also "user", "assistant"
//   alpaca    {"instruction", "input", "output", "history": [[user, assistant], …], "system"}; input and the last three
//   optional;
//             the user's turn is the instruction, a blank line and the input
//   prompt    {"prompt": text}: for generation only
//
// Every format may have, beside these, "id" (text or whole number), "source" (text) and "role" (text): the role prompt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/sha256.h"

namespace spt {

enum class RecordFormat { kAuto, kLima, kMessages, kShareGpt, kAlpaca, kPrompt };

// ADL hook of base/fields.h; also the names --format takes.
inline std::vector<std::pair<std::string, RecordFormat>> enum_names(RecordFormat) {
  return {{"auto", RecordFormat::kAuto},         {"lima", RecordFormat::kLima},
          {"messages", RecordFormat::kMessages}, {"sharegpt", RecordFormat::kShareGpt},
          {"alpaca", RecordFormat::kAlpaca},     {"prompt", RecordFormat::kPrompt}};
}

struct Record {
  std::string id;  // the "id" field, else the line number
  bool has_own_id = false;
  std::vector<std::string> turns;  // user, assistant, user, …; none is empty
  std::optional<std::string> system;
  std::string source;               // empty where the record names none
  std::optional<std::string> role;  // begins with the role prefix, has no blank line in it, no white space at its end
  int64_t line = 0;                 // from 1
  bool dropped_trailing_turn = false;
};

// One line of a file of records, not yet looked at.
struct RecordLine {
  std::string text;
  int64_t number = 0;  // from 1
};

// kTraining: every record ends with an assistant turn (a trailing user turn is dropped and counted; a record without
// any assistant turn is an error). kPrompts: every record ends with a user turn (an assistant turn after it is
// dropped). kAny: records as they are, for looking at them.
enum class RecordUse { kTraining, kPrompts, kAny };

struct RecordOptions {
  RecordFormat format = RecordFormat::kAuto;  // kAuto: told from the first record
  RecordUse use = RecordUse::kTraining;
  std::string role_prefix = "You are";
};

// Identifiers and sources longer than this many bytes are refused: a corpus stores them at fixed width.
inline constexpr size_t kMaxIdBytes = 255;

// The record of one line, for `options` whose format is known. Throws BadInput with file:line and what to do: broken
// JSON, not UTF-8, a JSON array instead of lines, missing fields, wrong types, an empty turn, turns out of order, no
// assistant turn, a role that is not one. Safe to call from several threads.
Record parse_record(const std::filesystem::path& path, const RecordLine& text, const RecordOptions& options);

class RecordReader {
 public:
  // Throws BadInput when the file is missing, a folder or cannot be read.
  RecordReader(std::filesystem::path path, RecordOptions options);

  // The next record; nothing at the end. Throws BadInput as parse_record does, for an unknown format, and for a file
  // without any record.
  std::optional<Record> next();
  // The same without parsing it, for parse_record(path(), line, options()).
  std::optional<RecordLine> next_line();

  const RecordOptions& options() const { return options_; }
  RecordFormat format() const { return options_.format; }  // after the first line: what it was found to be
  int64_t dropped_trailing_turns() const { return dropped_trailing_turns_; }
  // Feeds every byte read from here on into `hash` as well.
  void hash_into(Sha256& hash) { hash_ = &hash; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  RecordOptions options_;
  std::ifstream file_;
  Sha256* hash_ = nullptr;
  int64_t line_ = 0;
  int64_t records_ = 0;
  int64_t dropped_trailing_turns_ = 0;
};

// The first line of `text` after its first that is empty or white space only.
struct BlankLine {
  size_t begin;  // of the line end in front of it: what stands before the blank line ends here
  size_t end;    // after its own line end: what stands after it begins here
};
std::optional<BlankLine> find_blank_line(std::string_view text);

}  // namespace spt
