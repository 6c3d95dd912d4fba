// JSON from outside: its keys, its values in messages.
#pragma once

#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace spt {

// A scalar as JSON writes it, at most 80 bytes of it; of a list or object its kind only: a hostile one may be nested
// deeper than the stack allows.
inline std::string brief(const nlohmann::json& value) {
  if (value.is_structured()) return std::string("an ") + value.type_name();
  const std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() <= 80 ? text : text.substr(0, 80) + "…";
}

// What a parser says, without the library's number of it.
inline std::string json_reason(const nlohmann::json::exception& error) {
  const std::string text = error.what();
  const size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

// A callback for nlohmann::json::parse that calls fail(key) where an object has a key twice: which of the two counts
// would depend on the reader.
template <class Fail>
auto unique_keys(Fail fail) {
  return [keys = std::vector<std::set<std::string>>(), fail](int depth, nlohmann::json::parse_event_t event,
                                                             const nlohmann::json& parsed) mutable {
    using Event = nlohmann::json::parse_event_t;
    const auto inside = static_cast<size_t>(depth) + (event == Event::object_start);
    if (keys.size() <= inside) keys.resize(inside + 1);
    if (event == Event::object_start) keys[inside].clear();
    if (event == Event::key && !keys[inside].insert(parsed.get<std::string>()).second)
      fail(parsed.get_ref<const std::string&>());
    return true;
  };
}

}  // namespace spt
