// Option values that are one of a few names.
#pragma once

#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "base/fields.h"

namespace spt {

// Names of an enum as its `enum_names` lists them. Throws BadInput naming the option and its values.
template <class T>
T parse_choice(const char* option, const std::string& text) {
  T value{};
  if (const std::string expected = fields_detail::parse_any(text, value); !expected.empty())
    throw BadInput(fmt::format("{} is '{}', expected {}", option, text, expected));
  return value;
}

}  // namespace spt
