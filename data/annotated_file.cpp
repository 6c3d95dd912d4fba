#include "data/annotated_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "base/error.h"
#include "base/sha256.h"

namespace spt {

namespace fs = std::filesystem;

std::string write_annotated_file(const fs::path& input, const fs::path& path, const std::vector<NewRole>& roles,
                                 int64_t last_line) {
  std::ifstream in(input, std::ios::binary);
  if (!in) throw Failure(fmt::format("{}: cannot be read again: {}", input.string(), std::strerror(errno)));
  DurableFile out(path);
  Sha256 hash;
  auto role = roles.begin();
  std::string text;
  for (int64_t line = 1; line <= last_line && std::getline(in, text); ++line) {
    if (role != roles.end() && role->line == line) {
      auto record = nlohmann::ordered_json::parse(text);
      record["role"] = role->role;
      record["annotation"] = nlohmann::ordered_json::parse(role->annotation);
      text = record.dump();
      ++role;
    }
    text += '\n';
    hash.update(text);
    out.write(text);
  }
  if (role != roles.end()) throw Failure(fmt::format("{} was changed while it was annotated", input.string()));
  out.commit();
  return hash.hex();
}

fs::path partial_of(const fs::path& path) {
  return path.string() + ".partial";
}

}  // namespace spt
