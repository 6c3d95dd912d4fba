// A text with fields of a record in braces, as a task's prompt is: "{question.stem}". Names are dotted paths, a number
// is a place in a list ("{turns.0}"), from 0; {{ and }} are braces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace spt {

// The value at a dotted path; null where there is none.
const nlohmann::json* find_field(const nlohmann::json& record, std::string_view path);

// A text as it is, a number or boolean as JSON writes it. Throws BadInput naming the path: nothing there, a list, an
// object or null.
std::string field_text(const nlohmann::json& record, std::string_view path);

class FieldText {
 public:
  // Throws BadInput: a brace without its other, an empty name.
  explicit FieldText(std::string_view text);

  std::vector<std::string> fields() const;  // their paths, in the text's order

  // Throws as field_text.
  std::string fill(const nlohmann::json& record) const;

 private:
  struct Part {
    bool is_field;
    std::string text;  // as it is, or a path
  };
  std::vector<Part> parts_;
};

}  // namespace spt
