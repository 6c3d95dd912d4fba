#include "data/records.h"

#include <cerrno>
#include <cstring>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/json_text.h"
#include "data/utf8.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

enum class Speaker { kSystem, kUser, kAssistant };

struct Message {
  Speaker speaker;
  std::string text;
};

// One record's line: its JSON, and errors that name the place.
class Line {
 public:
  Line(const fs::path& path, int64_t line, const std::string& text) : path_(path), line_(line) {
    if (!is_utf8(text)) fail("the line is not UTF-8: convert the file, for example with iconv -t UTF-8");
    try {
      value_ = json::parse(text, unique_keys([this](const std::string& key) {
                             fail(fmt::format("the record has the field \"{}\" twice", key));
                           }));
    } catch (const json::parse_error& error) {
      if (text.find_first_not_of(" \t") != std::string::npos && text[text.find_first_not_of(" \t")] == '[')
        fail_array();
      fail(fmt::format("broken JSON: {}", reason(error.what())));
    } catch (const json::out_of_range&) {
      fail("a number is larger than any");
    }
    if (value_.is_array()) fail_array();
    if (!value_.is_object()) fail(fmt::format("a record must be a JSON object, this is a {}", value_.type_name()));
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw BadInput(fmt::format("{}:{}: {}", path_.string(), line_, message));
  }

  bool has(const char* key) const { return value_.contains(key) && !value_[key].is_null(); }
  const json& at(const char* key, json::value_t type) const {
    if (!has(key)) fail(fmt::format("the record has no field \"{}\"", key));
    return expect(value_[key], type, fmt::format("\"{}\"", key));
  }
  std::string text(const char* key) const { return at(key, json::value_t::string).get<std::string>(); }
  std::string text_or_empty(const char* key) const { return has(key) ? text(key) : std::string(); }

  // A text inside the record; `what` names it in the message.
  std::string text(const json& value, const std::string& what) const {
    return expect(value, json::value_t::string, what).get<std::string>();
  }
  std::string text(const json& object, const char* key, const std::string& what) const {
    expect(object, json::value_t::object, what);
    if (!object.contains(key)) fail(fmt::format("{} has no field \"{}\"", what, key));
    return text(object[key], fmt::format("\"{}\" of {}", key, what));
  }
  const json& expect(const json& value, json::value_t type, const std::string& what) const {
    if (value.type() == type) return value;
    fail(fmt::format("{} must be {}, this is a {}", what, json(type).type_name(), value.type_name()));
  }
  const json& value() const { return value_; }

 private:
  [[noreturn]] void fail_array() const {
    fail("the file holds a JSON array, expected one object a line; convert it: jq -c '.[]' IN.json > OUT.jsonl");
  }
  // nlohmann's own text without its exception number and "line 1" (always 1 here).
  static std::string reason(const std::string& text) {
    const size_t column = text.find("column ");
    return column == std::string::npos ? text : text.substr(column);
  }

  const fs::path& path_;
  int64_t line_;
  json value_;
};

RecordFormat detect(const Line& line) {
  if (line.has("messages")) return RecordFormat::kMessages;
  if (line.has("conversations")) {
    const json& turns = line.at("conversations", json::value_t::array);
    return !turns.empty() && turns[0].is_object() ? RecordFormat::kShareGpt : RecordFormat::kLima;
  }
  if (line.has("instruction")) return RecordFormat::kAlpaca;
  if (line.has("prompt")) return RecordFormat::kPrompt;
  line.fail(
      "the format of the records is not known: expected a field \"conversations\" (lima, sharegpt), \"messages\", "
      "\"instruction\" (alpaca) or, to generate, \"prompt\"");
}

Speaker speaker(const Line& line, const std::string& name, const std::string& what) {
  if (name == "system") return Speaker::kSystem;
  if (name == "user" || name == "human") return Speaker::kUser;
  if (name == "assistant" || name == "gpt") return Speaker::kAssistant;
  line.fail(fmt::format("{} is by \"{}\", expected system, user (human) or assistant (gpt)", what, name));
}

std::vector<Message> named_messages(const Line& line, const char* list, const char* from, const char* content) {
  std::vector<Message> messages;
  for (const json& item : line.at(list, json::value_t::array)) {
    const std::string what = fmt::format("{}[{}]", list, messages.size());
    const Speaker by = speaker(line, line.text(item, from, what), what);
    messages.push_back({by, line.text(item, content, what)});
  }
  return messages;
}

std::vector<Message> lima_messages(const Line& line) {
  std::vector<Message> messages;
  for (const json& item : line.at("conversations", json::value_t::array)) {
    const Speaker by = messages.size() % 2 == 0 ? Speaker::kUser : Speaker::kAssistant;
    messages.push_back({by, line.text(item, fmt::format("conversations[{}]", messages.size()))});
  }
  return messages;
}

std::vector<Message> alpaca_messages(const Line& line) {
  std::vector<Message> messages;
  if (const std::string system = line.text_or_empty("system"); !system.empty())
    messages.push_back({Speaker::kSystem, system});
  if (line.has("history")) {
    size_t index = 0;
    for (const json& pair : line.at("history", json::value_t::array)) {
      const std::string what = fmt::format("history[{}]", index++);
      if (line.expect(pair, json::value_t::array, what).size() != 2)
        line.fail(fmt::format("{} must hold two texts, the user's and the assistant's", what));
      messages.push_back({Speaker::kUser, line.text(pair[0], what + "[0]")});
      messages.push_back({Speaker::kAssistant, line.text(pair[1], what + "[1]")});
    }
  }
  const std::string input = line.text_or_empty("input");
  messages.push_back({Speaker::kUser, line.text("instruction") + (input.empty() ? "" : "\n\n" + input)});
  if (line.has("output")) messages.push_back({Speaker::kAssistant, line.text("output")});
  return messages;
}

std::vector<Message> read_messages(const Line& line, RecordFormat format) {
  switch (format) {
    case RecordFormat::kLima:
      return lima_messages(line);
    case RecordFormat::kMessages:
      return named_messages(line, "messages", "role", "content");
    case RecordFormat::kShareGpt:
      return named_messages(line, "conversations", "from", "value");
    case RecordFormat::kAlpaca:
      return alpaca_messages(line);
    case RecordFormat::kPrompt:
      return {{Speaker::kUser, line.text("prompt")}};
    case RecordFormat::kAuto:
      break;
  }
  throw Failure("the format of the records was not told");
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// The messages as turns that alternate, user first, with the system message apart.
void set_turns(const Line& line, std::vector<Message>& messages, Record& record) {
  for (size_t i = 0; i < messages.size(); ++i) {
    Message& message = messages[i];
    if (is_blank(message.text)) line.fail(fmt::format("message {} is empty: fill it in or remove the record", i + 1));
    if (message.speaker == Speaker::kSystem) {
      if (i > 0) line.fail(fmt::format("message {} is a system message: only the first may be one", i + 1));
      record.system = std::move(message.text);
      continue;
    }
    const Speaker expected = record.turns.size() % 2 == 0 ? Speaker::kUser : Speaker::kAssistant;
    if (message.speaker != expected)
      line.fail(fmt::format("message {} is the {}'s, expected the {}'s: turns must alternate, the user's first", i + 1,
                            expected == Speaker::kUser ? "assistant" : "user",
                            expected == Speaker::kUser ? "user" : "assistant"));
    record.turns.push_back(std::move(message.text));
  }
}

void check_short(const Line& line, const char* field, const std::string& value) {
  if (value.size() > kMaxIdBytes)
    line.fail(fmt::format("\"{}\" has {} bytes, the limit is {}", field, value.size(), kMaxIdBytes));
  if (value.find('\0') != std::string::npos) line.fail(fmt::format("\"{}\" has a NUL character in it", field));
}

std::string read_id(const Line& line, int64_t number) {
  if (!line.has("id")) return std::to_string(number);
  const json& id = line.value()["id"];
  if (id.is_number_integer()) return id.dump();
  std::string text = line.text("id");
  if (is_blank(text)) line.fail("\"id\" is empty");
  check_short(line, "id", text);
  return text;
}

// At most 40 bytes of `text`, cut between characters, on one line.
std::string quoted_beginning(std::string_view text) {
  size_t size = 0;
  while (size < text.size() && size + utf8_length(text.substr(size)) <= 40) size += utf8_length(text.substr(size));
  return json(text.substr(0, size)).dump() + (size < text.size() ? "…" : "");
}

std::optional<std::string> read_role(const Line& line, const std::string& prefix) {
  if (!line.has("role")) return std::nullopt;
  std::string role = line.text("role");
  role.erase(role.find_last_not_of(" \t\r\n") + 1);
  if (!role.starts_with(prefix))
    line.fail(fmt::format("the role is {}, it must begin with \"{}\"", quoted_beginning(role), prefix));
  if (find_blank_line(role))
    line.fail("the role has a blank line in it: the first blank line ends a role, so it may hold none");
  return role;
}

}  // namespace

std::optional<BlankLine> find_blank_line(std::string_view text) {
  for (size_t begin = text.find('\n'); begin != std::string_view::npos; begin = text.find('\n', begin + 1)) {
    const size_t next = text.find_first_not_of(" \t\r", begin + 1);
    if (next != std::string_view::npos && text[next] == '\n') return BlankLine{begin, next + 1};
  }
  return std::nullopt;
}

RecordReader::RecordReader(fs::path path, RecordOptions options)
    : path_(std::move(path)), options_(std::move(options)) {
  std::error_code ignored;
  if (fs::is_directory(path_, ignored))
    throw BadInput(fmt::format("{}: is a folder, expected a file of JSON lines", path_.string()));
  if (const auto status = fs::status(path_, ignored); fs::exists(status) && !fs::is_regular_file(status))
    throw BadInput(
        fmt::format("{}: is no regular file; records are read twice: save them to a file first", path_.string()));
  file_.open(path_, std::ios::binary);
  if (!file_) throw BadInput(fmt::format("{}: cannot be read: {}", path_.string(), std::strerror(errno)));
}

std::optional<RecordLine> RecordReader::next_line() {
  RecordLine line;
  do {
    if (!std::getline(file_, line.text)) {
      if (file_.bad()) throw Failure(fmt::format("{}: reading failed: {}", path_.string(), std::strerror(errno)));
      if (records_ == 0) throw BadInput(fmt::format("{}: has no records in it", path_.string()));
      return std::nullopt;
    }
    ++line_;
    if (hash_ != nullptr) {
      hash_->update(line.text);
      if (!file_.eof()) hash_->update("\n");
    }
  } while (is_blank(line.text));
  line.number = line_;
  if (options_.format == RecordFormat::kAuto) options_.format = detect(Line(path_, line_, line.text));
  ++records_;
  return line;
}

std::optional<Record> RecordReader::next() {
  const auto line = next_line();
  if (!line) return std::nullopt;
  Record record = parse_record(path_, *line, options_);
  dropped_trailing_turns_ += record.dropped_trailing_turn;
  return record;
}

Record parse_record(const fs::path& path, const RecordLine& text, const RecordOptions& options) {
  const Line line(path, text.number, text.text);
  Record record;
  record.line = text.number;
  record.id = read_id(line, text.number);
  record.has_own_id = line.has("id");
  record.source = line.text_or_empty("source");
  check_short(line, "source", record.source);
  record.role = read_role(line, options.role_prefix);
  std::vector<Message> messages = read_messages(line, options.format);
  set_turns(line, messages, record);
  if (record.turns.empty()) line.fail("the record has no turns");
  const bool ends_with_user = record.turns.size() % 2 == 1;
  if (options.use == RecordUse::kPrompts) {
    if (!ends_with_user) record.turns.pop_back();
  } else if (options.use == RecordUse::kTraining) {
    if (record.turns.size() < 2) line.fail("the record has no assistant turn: add the answer or remove the record");
    if (ends_with_user) record.turns.pop_back();
    record.dropped_trailing_turn = ends_with_user;
  }
  return record;
}

}  // namespace spt
