#include "data/field_text.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace spt {
namespace {

using nlohmann::json;

const json* step_into(const json& value, const std::string& name) {
  if (value.is_object()) {
    const auto found = value.find(name);
    return found == value.end() ? nullptr : &*found;
  }
  size_t place = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), place);
  const bool is_place = value.is_array() && error == std::errc() && end == name.data() + name.size();
  return is_place && place < value.size() ? &value[place] : nullptr;
}

}  // namespace

const json* find_field(const json& record, std::string_view path) {
  const json* value = &record;
  for (size_t begin = 0; value != nullptr && begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    value = step_into(*value, std::string(path.substr(begin, end - begin)));
    begin = end + 1;
  }
  return value;
}

std::string field_text(const json& record, std::string_view path) {
  const json* value = find_field(record, path);
  if (value == nullptr) throw BadInput(fmt::format("has no field {}", path));
  if (value->is_string()) return value->get<std::string>();
  if (value->is_number() || value->is_boolean()) return value->dump();
  throw BadInput(fmt::format("field {} is {}, expected a text or a number", path, value->type_name()));
}

FieldText::FieldText(std::string_view text) {
  const auto add_text = [this](std::string_view piece) {
    if (parts_.empty() || parts_.back().is_field) parts_.push_back({false, ""});
    parts_.back().text += piece;
  };
  while (!text.empty()) {
    size_t size = std::min(text.find_first_of("{}"), text.size());
    if (size > 0) {
      add_text(text.substr(0, size));
    } else if (text.starts_with("{{") || text.starts_with("}}")) {
      add_text(text.substr(0, 1));
      size = 2;
    } else {
      const size_t end = text.find('}');
      if (text[0] == '}') throw BadInput("a } without its {; write }} for a brace");
      if (end == std::string_view::npos) throw BadInput("a { without its }; write {{ for a brace");
      if (end == 1) throw BadInput("a field without a name, {}; write {{}} for braces");
      parts_.push_back({true, std::string(text.substr(1, end - 1))});
      size = end + 1;
    }
    text.remove_prefix(size);
  }
}

std::vector<std::string> FieldText::fields() const {
  std::vector<std::string> paths;
  for (const Part& part : parts_)
    if (part.is_field) paths.push_back(part.text);
  return paths;
}

std::string FieldText::fill(const json& record) const {
  std::string text;
  for (const Part& part : parts_) text += part.is_field ? field_text(record, part.text) : part.text;
  return text;
}

}  // namespace spt
