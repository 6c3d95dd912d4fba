// JSON values in messages.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace spt {

// A scalar as JSON writes it, at most 80 bytes of it; of a list or object its kind only: a hostile one may be nested
// deeper than the stack allows.
inline std::string brief(const nlohmann::json& value) {
  if (value.is_structured()) return std::string("an ") + value.type_name();
  const std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() <= 80 ? text : text.substr(0, 80) + "…";
}

}  // namespace spt
