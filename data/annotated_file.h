// The records of a file again, some of them with a role. Each line is kept as it is, but those that get a role: their
// JSON object keeps its fields in their order and gains (or has replaced) "role" and "annotation".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace spt {

struct NewRole {
  int64_t line = 0;  // of the record in the input
  std::string role;
  std::string annotation;  // a JSON object: where the role comes from
};

// Writes the input's lines 1 … last_line to `path`, synced; returns their SHA-256. `roles` by line.
std::string write_annotated_file(const std::filesystem::path& input, const std::filesystem::path& path,
                                 const std::vector<NewRole>& roles, int64_t last_line);

// The name under which a file is written before it gets its own.
std::filesystem::path partial_of(const std::filesystem::path& path);

}  // namespace spt
