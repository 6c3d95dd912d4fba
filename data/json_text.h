// JSON from outside: its keys, its values in messages.
#pragma once

#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

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

// An object that this program wrote, which is flat: a hostile one may be nested deeper than the stack allows. `where`,
// the file or file:line, stands in front of messages. Throws BadInput: broken, no object, a key twice, nested more than
// 32 deep.
inline nlohmann::json parse_json_object(const std::string& text, const std::string& where) {
  constexpr int kMaxDepth = 32;
  const auto fail = [&](const std::string& reason) { throw BadInput(fmt::format("{}: {}", where, reason)); };
  auto unique = unique_keys([&](const std::string& key) { fail(fmt::format("has the field {} twice", brief(key))); });
  const auto check = [&](int depth, nlohmann::json::parse_event_t event, const nlohmann::json& parsed) {
    if (depth > kMaxDepth) fail(fmt::format("is nested more than {} deep", kMaxDepth));
    return unique(depth, event, parsed);
  };
  try {
    nlohmann::json value = nlohmann::json::parse(text, check);
    if (!value.is_object()) fail(fmt::format("is {}, expected a JSON object", brief(value)));
    return value;
  } catch (const nlohmann::json::exception& error) {
    throw BadInput(fmt::format("{}: broken JSON: {}", where, json_reason(error)));
  }
}

// As text inside an HTML <script> element of JSON: ASCII alone, without < > &, so that nothing in a text can end the
// element or begin a comment; bytes that are no UTF-8 as U+FFFD, numbers that are not finite as null.
template <class Json>
std::string script_json(const Json& value) {
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '<' || c == '>' || c == '&')  // only inside JSON's texts, where \u003c is the same
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out;
}

}  // namespace spt
