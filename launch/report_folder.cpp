#include "launch/report_folder.h"

#include <fmt/format.h>

#include "base/durable.h"
#include "base/error.h"
#include "base/read_file.h"
#include "base/sha256.h"
#include "data/json_text.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kList = "report.json";
constexpr const char* kFormat = "spt-report";

// File → SHA-256 of an earlier report; empty where there is none.
std::map<std::string, std::string> earlier_files(const fs::path& folder) {
  const fs::path path = folder / kList;
  if (std::error_code error; !fs::is_regular_file(path, error)) return {};
  const json list = json::parse(read_file(path), nullptr, false);
  if (!list.is_object() || !list.contains("files") || list.value("format", json()) != kFormat) return {};
  std::map<std::string, std::string> files;
  for (const auto& [name, hash] : list["files"].items())
    if (hash.is_string() && !name.starts_with("/") && name.find("..") == std::string::npos)
      files[name] = hash.get<std::string>();
  return files;
}

bool is_unchanged(const fs::path& path, const std::string& hash) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path, error)) && sha256_file(path) == hash;
}

// A file in the folder that is not as a report of ours left it; empty where there is none.
std::string foreign_file(const fs::path& folder) {
  const std::map<std::string, std::string> ours = earlier_files(folder);
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_directory() && !entry.is_symlink() && name == "tables") continue;
    if (name == kList && !ours.empty()) continue;
    const auto known = ours.find(name);
    if (known == ours.end() || !is_unchanged(entry.path(), known->second)) return name;
  }
  return {};
}

}  // namespace

void check_report_folder(const fs::path& folder, bool force) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error))
    throw BadInput(fmt::format("--out: {} is no folder", folder.string()));
  require_writable_below(folder, "--out");
  if (force || !fs::exists(folder, error)) return;
  if (const std::string name = foreign_file(folder); !name.empty())
    throw BadInput(
        fmt::format("--out: {} holds {}, which is not as spt report left it; choose another folder, or --force "
                    "to write into this one",
                    folder.string(), name));
}

void write_report_folder(const fs::path& folder, const std::map<std::string, std::string>& files) {
  const std::map<std::string, std::string> before = earlier_files(folder);
  std::error_code error;
  fs::create_directories(folder / "tables", error);
  if (error) throw Failure(fmt::format("{}: cannot be made: {}", (folder / "tables").string(), error.message()));
  json list = {{"format", kFormat}, {"version", 1}, {"files", json::object()}};
  for (const auto& [name, bytes] : files) {
    write_durable(folder / name, bytes);
    list["files"][name] = sha256_hex(bytes);
  }
  for (const auto& [name, hash] : before)
    if (!files.contains(name) && is_unchanged(folder / name, hash)) fs::remove(folder / name, error);
  write_durable(folder / kList, list.dump(2) + "\n");
}

}  // namespace spt
