#include "data/chat_template.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/error.h"
#include "base/read_file.h"
#include "data/config_file.h"
#include "data/named_config.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

// Stored as one HDF5 attribute, which holds less than 64 KiB.
constexpr size_t kMaxTemplateBytes = 32'000;

// The file's keys as written.
struct TemplateFile {
  std::string system, start, start_without_system, answer, next, role_prefix = "You are";
  template <class F>
  void fields(F& f) {
    f("system", system, "the system line of a conversation that brings none");
    f("start", start, "opens a conversation");
    f("start_without_system", start_without_system, "opens a conversation without a system line");
    f("answer", answer, "the assistant's turn");
    f("next", next, "between turns");
    f("role_prefix", role_prefix, "how a role prompt begins");
  }
};

// How many of the tokens from `begin` on lie within the first `bytes` bytes of their text.
size_t tokens_within(const std::vector<int32_t>& ids, size_t begin, size_t bytes, const Tokenizer& tokenizer) {
  size_t low = 0, high = ids.size() - begin;
  while (low < high) {
    const size_t middle = (low + high + 1) / 2;
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(begin);
    if (tokenizer.decode({first, first + static_cast<std::ptrdiff_t>(middle)}, false).size() <= bytes)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

}  // namespace

// Reads the texts of the file into parts and checks where placeholders stand.
class ChatTemplate::Parser {
 public:
  Parser(const ConfigValues& values, const std::string& origin) : values_(values), origin_(origin) {}

  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    const auto found = values_.find(key);
    throw BadInput(
        fmt::format("{}: template key {}: {}", found == values_.end() ? origin_ : found->second.where, key, message));
  }

  Parts parts(const std::string& key, const std::string& text) const {
    Parts parts;
    const auto add_text = [&parts](std::string_view piece) {
      if (parts.empty() || parts.back().kind != Part::Kind::kText) parts.push_back({Part::Kind::kText, ""});
      parts.back().text += piece;
    };
    for (size_t at = 0; at < text.size();) {
      const std::string_view rest = std::string_view(text).substr(at);
      if (rest.starts_with("{{") || rest.starts_with("}}")) {
        add_text(rest.substr(0, 1));
        at += 2;
      } else if (rest[0] == '}') {
        fail(key, "a } without its {; write }} for a brace");
      } else if (rest[0] == '{') {
        const size_t end = rest.find('}');
        if (end == std::string_view::npos) fail(key, "a { without its }; write {{ for a brace");
        parts.push_back(placeholder(key, std::string(rest.substr(1, end - 1))));
        at += end + 1;
      } else {
        const size_t size = std::min(rest.find_first_of("{}"), rest.size());
        add_text(rest.substr(0, size));
        at += size;
      }
    }
    return parts;
  }

  // Each placeholder's name, whether it must stand there, and may.
  void expect(const std::string& key, const Parts& parts, Part::Kind kind, const char* name, int least,
              int most) const {
    const auto count =
        std::count_if(parts.begin(), parts.end(), [kind](const Part& part) { return part.kind == kind; });
    if (count < least) fail(key, fmt::format("{{{}}} is missing", name));
    if (count > most) fail(key, fmt::format("{{{}}} stands there {} times, at most {} allowed", name, count, most));
  }

  // Something must show where the user's turn ends and the trained span begins.
  void expect_mark_after_user(const std::string& key, const Parts& parts) const {
    if (parts.empty()) return;
    const auto user =
        std::find_if(parts.begin(), parts.end(), [](const Part& part) { return part.kind == Part::Kind::kUser; });
    const bool marked = std::any_of(user + 1, parts.end(), [](const Part& part) {
      return part.kind == Part::Kind::kText ? part.text.find_first_not_of(" \t\r\n") != std::string::npos
                                            : part.kind != Part::Kind::kSystem;
    });
    if (!marked)
      fail(key,
           "nothing stands between {user} and the assistant's turn, so the trained spans cannot be told apart from the "
           "user's text: put a word or a special token there");
  }

  Parts context(const std::string& key, const std::string& text, int systems) const {
    Parts parts = this->parts(key, text);
    expect(key, parts, Part::Kind::kUser, "user", 1, 1);
    expect(key, parts, Part::Kind::kSystem, "system", systems, systems);
    expect(key, parts, Part::Kind::kAssistant, "assistant", 0, 0);
    return parts;
  }

 private:
  Part placeholder(const std::string& key, const std::string& name) const {
    using Kind = Part::Kind;
    if (name == "bos") return {Kind::kBos, ""};
    if (name == "eos") return {Kind::kEos, ""};
    if (name == "system") return {Kind::kSystem, ""};
    if (name == "user") return {Kind::kUser, ""};
    if (name == "assistant") return {Kind::kAssistant, ""};
    if (name.starts_with("special:") && name.size() > 8) return {Kind::kSpecial, name.substr(8)};
    fail(key,
         fmt::format(
             "{{{}}} is not known, expected {{bos}}, {{eos}}, {{system}}, {{user}}, {{assistant}} or {{special:TEXT}}; "
             "write {{{{ for a brace",
             name));
  }

  const ConfigValues& values_;
  const std::string& origin_;
};

// Gathers text until a special token or the assistant's turn ends the piece.
class ChatTemplate::Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, const std::string& origin) : tokenizer_(tokenizer), origin_(origin) {}

  void add(const Parts& parts, const Fill& fill) {
    for (const Part& part : parts) {
      switch (part.kind) {
        case Part::Kind::kText:
          piece_ += part.text;
          break;
        case Part::Kind::kSystem:
          piece_ += fill.system;
          break;
        case Part::Kind::kUser:
          piece_ += fill.user;
          break;
        case Part::Kind::kBos:
          if (tokenizer_.bos()) {
            end_piece();
            ids_.push_back(*tokenizer_.bos());
          }
          break;
        case Part::Kind::kEos:
          special(tokenizer_.eos());
          break;
        case Part::Kind::kSpecial:
          special(find(part.text));
          break;
        case Part::Kind::kAssistant:
          throw Failure("{assistant} outside the answer");
      }
    }
    end_piece();
  }

  void add_answer(const std::string& text) {
    piece_ = text;
    end_piece();
    special(tokenizer_.eos());
  }

  std::vector<int32_t> take() { return std::move(ids_); }
  const std::vector<int32_t>& ids() const { return ids_; }
  size_t size() const { return ids_.size(); }

 private:
  void end_piece() {
    if (piece_.empty()) return;
    const std::vector<int32_t> ids = tokenizer_.encode(piece_, at_start_);
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    at_start_ = false;
    piece_.clear();
  }
  void special(int32_t id) {
    end_piece();
    ids_.push_back(id);
    at_start_ = false;
  }
  int32_t find(const std::string& text) const {
    if (const auto id = tokenizer_.special(text)) return *id;
    throw BadInput(fmt::format("{}: the tokenizer has no special token \"{}\": choose another --template or tokenizer",
                               origin_, text));
  }

  const Tokenizer& tokenizer_;
  const std::string& origin_;
  std::vector<int32_t> ids_;
  std::string piece_;
  bool at_start_ = true;
};

std::vector<FieldLister::Line> template_fields() {
  return list_fields<TemplateFile>();
}

ChatTemplate ChatTemplate::load(const std::string& name_or_file) {
  const fs::path path = named_config("templates", name_or_file);
  std::error_code error;
  if (fs::is_directory(path, error))
    throw BadInput(fmt::format("{}: is a folder, expected a template file", path.string()));
  return parse(read_file(path), path.string());
}

ChatTemplate ChatTemplate::parse(const std::string& yaml, const std::string& origin) {
  if (yaml.size() > kMaxTemplateBytes)
    throw BadInput(
        fmt::format("{}: the template has {} bytes, the limit is {}", origin, yaml.size(), kMaxTemplateBytes));
  const ConfigValues values = parse_config_values(yaml, origin);
  const TemplateFile file = read_fields<TemplateFile>(values);
  const Parser parser(values, origin);
  ChatTemplate result;
  result.text_ = yaml;
  result.origin_ = origin;
  result.system_ = file.system;
  result.role_prefix_ = file.role_prefix;
  if (file.role_prefix.empty()) parser.fail("role_prefix", "is empty: then every answer would begin with a role");
  if (file.role_prefix.find('\n') != std::string::npos) parser.fail("role_prefix", "has a line end in it");
  result.start_ = parser.context("start", file.start, 1);
  if (!file.start_without_system.empty())
    result.start_without_system_ = parser.context("start_without_system", file.start_without_system, 0);
  else if (file.system.empty())
    parser.fail("start_without_system", "is missing: a template without a system line needs it");
  result.next_ = parser.context("next", file.next, 0);

  using Kind = Part::Kind;
  const Parts answer = parser.parts("answer", file.answer);
  parser.expect("answer", answer, Kind::kAssistant, "assistant", 1, 1);
  if (answer.back().kind != Kind::kEos) parser.fail("answer", "must end with {eos}, where generation stops");
  bool before = true;
  for (auto part = answer.begin(); part != answer.end() - 1; ++part) {
    if (part->kind == Kind::kAssistant)
      before = false;
    else if (part->kind == Kind::kText)
      (before ? result.before_answer_ : result.after_answer_) += part->text;
    else
      parser.fail("answer", "may hold text and {assistant} only, and {eos} at its end");
  }
  if (find_blank_line(result.after_answer_))
    parser.fail("answer", "has a blank line behind {assistant}: an answer that begins like a role would end like one");
  parser.expect_mark_after_user("start", result.start_);
  parser.expect_mark_after_user("start_without_system", result.start_without_system_);
  parser.expect_mark_after_user("next", result.next_);
  return result;
}

ChatTemplate ChatTemplate::with_system(const std::string& system) const {
  TemplateFile file = read_fields<TemplateFile>(parse_config_values(text_, origin_));
  file.system = system;
  return parse(dump_fields(file), origin_);
}

const ChatTemplate::Parts& ChatTemplate::opening(std::string_view system) const {
  return system.empty() && !start_without_system_.empty() ? start_without_system_ : start_;
}

std::string ChatTemplate::assistant_text(std::string_view turn) const {
  return fmt::format("{}{}{}", before_answer_, turn, after_answer_);
}

EncodedExample ChatTemplate::encode(const Record& record, Arm arm, const Tokenizer& tokenizer, bool role_loss) const {
  if (arm == Arm::kRole && !record.role) throw Failure("a record without a role in the role arm");
  const std::string_view system = record.system ? *record.system : system_;
  Encoder encoder(tokenizer, origin_);
  std::vector<uint8_t> trained;
  size_t context = 0;
  for (size_t i = 0; i + 1 < record.turns.size(); i += 2) {
    encoder.add(i == 0 ? opening(system) : next_, {system, record.turns[i]});
    trained.resize(encoder.size(), 0);
    const std::string& answer = record.turns[i + 1];
    const size_t begin = encoder.size();
    if (i == 0) context = begin;
    const bool has_role = i == 0 && arm == Arm::kRole;
    encoder.add_answer(assistant_text(has_role ? *record.role + "\n\n" + answer : answer));
    trained.resize(encoder.size(), 1);
    if (has_role && !role_loss) {
      const size_t role =
          tokens_within(encoder.ids(), begin, before_answer_.size() + record.role->size() + 2, tokenizer);
      std::fill_n(trained.begin() + static_cast<std::ptrdiff_t>(begin), role, 0);
    }
  }
  return {encoder.take(), std::move(trained), context};
}

std::vector<int32_t> ChatTemplate::encode_prompt(const std::vector<std::string>& turns,
                                                 const std::optional<std::string>& system,
                                                 const Tokenizer& tokenizer) const {
  if (turns.size() % 2 != 1) throw Failure("a prompt must end with a user turn");
  const std::string_view line = system ? *system : system_;
  Encoder encoder(tokenizer, origin_);
  for (size_t i = 0; i < turns.size(); i += 2) {
    encoder.add(i == 0 ? opening(line) : next_, {line, turns[i]});
    if (i + 1 < turns.size()) encoder.add_answer(assistant_text(turns[i + 1]));
  }
  return encoder.take();
}

std::string ChatTemplate::mark_before_answer(const Tokenizer& tokenizer) const {
  std::string mark;
  for (const Part& part : opening(system_)) {
    if (part.kind == Part::Kind::kUser) mark.clear();
    if (part.kind == Part::Kind::kText || part.kind == Part::Kind::kSpecial) mark += part.text;
    if (part.kind == Part::Kind::kBos) mark += tokenizer.bos_text();
    if (part.kind == Part::Kind::kEos) mark += tokenizer.eos_text();
    if (part.kind == Part::Kind::kSystem) mark += system_;
  }
  return mark;
}

RoleAndAnswer ChatTemplate::split(const std::vector<int32_t>& output, const Tokenizer& tokenizer) const {
  const auto decode = [&](size_t count) {
    std::string text = tokenizer.decode({output.begin(), output.begin() + static_cast<std::ptrdiff_t>(count)}, false);
    if (text.starts_with(before_answer_)) text.erase(0, before_answer_.size());
    return text;
  };
  RoleAndAnswer result;
  result.output = decode(output.size());
  if (!after_answer_.empty() && result.output.ends_with(after_answer_))
    result.output.resize(result.output.size() - after_answer_.size());
  result.answer = result.output;
  if (!result.output.starts_with(role_prefix_)) return result;
  const auto blank = find_blank_line(output.size() > kMaxRoleTokens ? decode(kMaxRoleTokens) : result.output);
  if (!blank) return result;
  result.role = result.output.substr(0, blank->begin);
  result.answer = result.output.substr(std::min(blank->end, result.output.size()));
  return result;
}

}  // namespace spt
