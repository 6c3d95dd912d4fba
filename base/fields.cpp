#include "base/fields.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

namespace spt {
namespace {

template <class T>
bool parse_number(const std::string& text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string parse_scalar(const std::string& text, bool& out) {
  if (text != "true" && text != "false") return "true or false";
  out = text == "true";
  return "";
}
std::string parse_scalar(const std::string& text, int64_t& out) {
  return parse_number(text, out) ? "" : "a whole number";
}
std::string parse_scalar(const std::string& text, uint64_t& out) {
  return parse_number(text, out) ? "" : "a whole number, at least 0";
}
std::string parse_scalar(const std::string& text, int& out) {
  return parse_number(text, out) ? "" : "a whole number";
}
std::string parse_scalar(const std::string& text, double& out) {
  return parse_number(text, out) && std::isfinite(out) ? "" : "a number";
}
std::string parse_scalar(const std::string& text, std::string& out) {
  out = text;
  return "";
}
std::string parse_scalar(const std::string& text, std::filesystem::path& out) {
  out = text;
  return "";
}

std::string format_scalar(bool value) {
  return value ? "true" : "false";
}
std::string format_scalar(int64_t value) {
  return std::to_string(value);
}
std::string format_scalar(uint64_t value) {
  return std::to_string(value);
}
std::string format_scalar(int value) {
  return std::to_string(value);
}
std::string format_scalar(double value) {
  return fmt::format("{}", value);
}
std::string format_scalar(const std::string& value) {
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\')
      quoted += '\\', quoted += c;
    else if (c == '\n')
      quoted += "\\n";
    else if (c == '\t')
      quoted += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20)
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      quoted += c;
  }
  return quoted + '"';
}
std::string format_scalar(const std::filesystem::path& value) {
  return format_scalar(value.string());
}

std::string format_value(const ConfigValue& value) {
  const auto format = [](const std::string& text) {
    constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    const bool is_plain = !text.empty() && text.find_first_not_of(kPlain) == std::string::npos &&
                          (std::isalnum(static_cast<unsigned char>(text[0])) != 0 || text[0] == '/');
    const bool is_null = text == "null" || text == "Null" || text == "NULL";
    return is_plain && !is_null ? text : format_scalar(text);
  };
  if (!value.is_list) return value.items.empty() ? "null" : format(value.items[0]);
  std::string items;
  for (const std::string& item : value.items) items += (items.empty() ? "" : ", ") + format(item);
  return "[" + items + "]";
}

std::string unit_of(const std::string& key) {
  static constexpr std::pair<const char*, const char*> kUnits[] = {
      {"_gb_s", "10⁹ bytes/s"}, {"_gb", "10⁹ bytes"}, {"_tflops", "10¹² operations/s"}, {"_us", "µs"}, {"_s", "s"}};
  static constexpr const char* kCounted[] = {"tokens", "steps",     "epochs",    "examples",
                                             "words",  "sentences", "sequences", "attempts"};
  const std::string name = "_" + key.substr(key.rfind('.') + 1);
  for (const auto& [end, unit] : kUnits)
    if (name.ends_with(end)) return unit;
  for (const char* counted : kCounted)
    if (name.ends_with(std::string("_") + counted)) return counted;
  return "";
}

std::string nearest_key(const std::string& key, const std::vector<std::string>& known) {
  const auto split = [](const std::string& dotted) {
    const size_t leaf = dotted.rfind('.') + 1;  // 0 without a dot
    return std::pair(dotted.substr(0, leaf), dotted.substr(leaf));
  };
  const auto [section, leaf] = split(key);
  std::string best;
  std::pair<size_t, size_t> best_distance(leaf.size() / 3 + 2, 0);
  for (const std::string& candidate : known) {
    const auto [other_section, other_leaf] = split(candidate);
    const std::pair distance(edit_distance(leaf, other_leaf), edit_distance(section, other_section));
    if (distance < best_distance) best_distance = distance, best = candidate;
  }
  return best;
}

}  // namespace spt
