// Option values that are one of a few names, and the keys of a configuration for --help.
#pragma once

#include <string>

#include <CLI/CLI.hpp>
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

// What --seed may be. A negative number would wrap.
inline CLI::Range seed_range() {
  return {0.0, 9.2e18};
}

// The keys of a configuration file, with their defaults, a line each.
template <class Config>
std::string keys_help() {
  std::string text = "Keys of CONFIG, with their defaults:\n";
  for (const auto& line : list_fields<Config>())
    text += fmt::format("  {:<30} {:<14} {}\n", line.key, line.value, line.help);
  return text + "\n";
}

}  // namespace spt
