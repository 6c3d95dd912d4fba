// YAML files and key=value overrides → dotted keys with the line each value stands on. The only place that knows
// yaml-cpp.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fields.h"

namespace spt {

// The file's values, then the overrides ("optimizer.lr=2e-5"; a value is read as YAML, so "[0.9, 0.95]" is a list), the
// later winning. Throws BadInput naming file and line: missing file, broken YAML, a key given twice in the file, a list
// of maps, an override without "=".
ConfigValues load_config_values(const std::filesystem::path& file, const std::vector<std::string>& overrides);
// A file's values as a T. Throws BadInput as read_fields; every message names the file, also where something is
// missing, which stands on no line.
template <class T>
T read_fields_of(const std::filesystem::path& file, const ConfigValues& values) {
  try {
    return read_fields<T>(values);
  } catch (const BadInput& error) {
    const std::string message = error.what();
    throw BadInput(message.starts_with(file.string()) ? message : file.string() + ": " + message);
  }
}

ConfigValues parse_config_values(const std::string& yaml, const std::string& origin);
ConfigValues parse_overrides(const std::vector<std::string>& overrides);

}  // namespace spt
