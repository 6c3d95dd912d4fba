#include "data/config_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "base/error.h"
#include "base/read_file.h"
#include "data/utf8.h"

namespace spt {
namespace {

constexpr size_t kMaxBytes = 4 << 20;   // far above any config, below a corpus or weights given by mistake
constexpr int kMaxDepth = 16;           // an alias inside its own anchor never ends
constexpr size_t kMaxValues = 100'000;  // nor do aliases of aliases of aliases within a lifetime

class Walker {
 public:
  explicit Walker(std::string origin) : origin_(std::move(origin)) {}

  // Adds every value below `map`, whose keys all begin with `prefix`.
  void walk(const YAML::Node& map, const std::string& prefix, int depth) {
    std::set<std::string> keys;
    for (const auto& entry : map) {
      const YAML::Node& key = entry.first;
      const YAML::Node& value = entry.second;
      const int line = key.Mark().line + 1;
      if (!key.IsScalar() || key.Scalar().empty()) fail(line, fmt::format("a key in '{}' is no plain text", prefix));
      const std::string name = prefix + key.Scalar();
      if (!keys.insert(name).second) fail(line, fmt::format("{} is given twice in this file; keep one", name));
      if (depth > kMaxDepth) fail(line, fmt::format("{} is nested deeper than {} sections", name, kMaxDepth));
      if (value.IsMap()) {
        walk(value, name + ".", depth + 1);
      } else {
        // "a.b: 1" and "a: {b: 1}" are the same key.
        const auto [added, is_new] = values_.emplace(name, value_of(name, value, line));
        if (!is_new) fail(line, fmt::format("{} is given twice in this file; keep one", name));
        added->second.place = values_.size() - 1;
        if (values_.size() > kMaxValues) fail(line, fmt::format("more than {} values", kMaxValues));
      }
    }
  }

  ConfigValue value_of(const std::string& name, const YAML::Node& node, int line) const {
    ConfigValue value;
    value.where = place(line);
    check_tag(name, node, line);
    if (node.IsScalar()) value.items.push_back(node.Scalar());
    if (!node.IsSequence()) return value;
    value.is_list = true;
    for (const YAML::Node& item : node) {
      const int item_line = item.Mark().line >= 0 ? item.Mark().line + 1 : line;
      if (!item.IsScalar())
        fail(item_line, fmt::format("{} takes a list of plain values, but item {} is {}", name, value.items.size() + 1,
                                    item.IsNull()  ? "empty"
                                    : item.IsMap() ? "a section"
                                                   : "a list"));
      check_tag(name, item, item_line);
      value.items.push_back(item.Scalar());
    }
    return value;
  }

  [[noreturn]] void fail(int line, const std::string& message) const {
    throw BadInput(fmt::format("{}: {}", place(line), message));
  }
  ConfigValues take() { return std::move(values_); }

 private:
  std::string place(int line) const { return line > 0 ? fmt::format("{}:{}", origin_, line) : origin_; }

  // "!include other.yaml" would otherwise be read as the text "other.yaml".
  void check_tag(const std::string& name, const YAML::Node& node, int line) const {
    const std::string& tag = node.Tag();
    if (tag.empty() || tag == "?" || tag == "!" || tag.starts_with("tag:yaml.org,2002:")) return;
    fail(line, fmt::format("{} has the tag '{}', which has no meaning here; remove it, or quote the value", name, tag));
  }

  std::string origin_;
  ConfigValues values_;
};

// yaml-cpp would put U+FFFD in the place of bytes that are not UTF-8.
void check_utf8(std::string_view text, const Walker& walker) {
  int line = 1;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (!is_utf8(text.substr(begin, end - begin))) walker.fail(line, "not UTF-8 text; save it as UTF-8");
    begin = end + 1;
  }
}

// Throws where a second document begins. yaml-cpp's own LoadAll never ends on a stray comma after the first one,
// because each attempt at the next document stands still before it.
class OneDocument : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1)
      throw YAML::ParserException(mark, "more follows the end of the document; remove a stray comma or a second '---'");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  int documents_ = 0;
};

// The one document in `yaml`; a null node when there is none.
YAML::Node load_document(const std::string& yaml, const Walker& walker) {
  check_utf8(yaml, walker);
  try {
    std::istringstream stream(yaml);
    YAML::Parser parser(stream);
    OneDocument one;
    while (parser.HandleNextDocument(one)) {
    }
    return YAML::Load(yaml);
  } catch (const YAML::Exception& error) {
    walker.fail(error.mark.is_null() ? 0 : error.mark.line + 1, fmt::format("not valid YAML: {}", error.msg));
  }
}

std::string read_text(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    throw BadInput(fmt::format("{}: is a folder, expected a YAML file", file.string()));
  refuse_pipe(file);
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw BadInput(fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  std::string text(kMaxBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) throw BadInput(fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kMaxBytes)
    throw BadInput(fmt::format("{}: larger than {} bytes, which no YAML configuration is", file.string(), kMaxBytes));
  return text;
}

void apply_override(const std::string& text, ConfigValues& values) {
  const auto fail = [&](const std::string& message) {
    throw BadInput(fmt::format("command line: '{}': {}", text, message));
  };
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) fail("expected key=value, e.g. optimizer.lr=2e-5");
  const std::string key = text.substr(0, equals);
  const std::string written = text.substr(equals + 1);
  const size_t first = written.find_first_not_of(" \t\n");
  if (first == std::string::npos || written[first] == '#')
    fail(fmt::format("no value; write {0}=null for none, {0}='\"\"' for an empty text", key));

  const Walker walker("command line");
  YAML::Node node;
  ConfigValue value;
  try {
    node = load_document(written, walker);
    if (!node.IsMap()) value = walker.value_of(key, node, 0);
  } catch (const BadInput& error) {
    fail(std::string(error.what()) + fmt::format("; a text is quoted so: '{}=\"…\"'", key));
  }
  // A comment or a line end would silently cut a plain text: run.dir=/data/x #2.
  if (node.IsScalar() && node.Tag() == "?" &&
      node.Scalar() != written.substr(first, written.find_last_not_of(" \t\n") + 1 - first))
    fail(fmt::format("read as '{}'; a text with such characters is quoted so: '{}=\"…\"'", node.Scalar(), key));
  if (node.IsMap()) fail("the value is a section; write key=value for each of its keys, or quote a text with a colon");
  value.where = "command line";
  value.place = values.size();
  values[key] = value;
}

}  // namespace

ConfigValues parse_config_values(const std::string& yaml, const std::string& origin) {
  Walker walker(origin);
  const YAML::Node root = load_document(yaml, walker);
  if (root.IsNull()) return {};
  if (!root.IsMap())
    walker.fail(root.Mark().line + 1, "expected 'key: value' lines at the top, found a list or a single text");
  walker.walk(root, "", 1);
  return walker.take();
}

ConfigValues load_config_values(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  ConfigValues values = parse_config_values(read_text(file), file.string());
  const size_t written = values.size();
  for (auto& [key, value] : parse_overrides(overrides)) {
    // One that takes a value's place takes its place in the order too.
    const auto there = values.find(key);
    value.place = there == values.end() ? written + value.place : there->second.place;
    values[key] = std::move(value);
  }
  return values;
}

ConfigValues parse_overrides(const std::vector<std::string>& overrides) {
  ConfigValues values;
  for (const std::string& text : overrides) apply_override(text, values);
  return values;
}

}  // namespace spt
