#include "trainer/checkpoint_files.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/error.h"
#include "base/read_file.h"
#include "base/sha256.h"

namespace spt {

namespace fs = std::filesystem;
using nlohmann::json;

std::optional<int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  int64_t step = 0;
  if (!name.starts_with("step-")) return std::nullopt;
  const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  const bool is_number = error == std::errc() && end == name.data() + name.size();
  // Only what we would write: `step-1` or `step--1` is somebody else's and is left alone.
  return is_number && name == fmt::format("step-{:06}", step) && step >= 0 ? std::optional(step) : std::nullopt;
}

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory()) files.push_back(fs::relative(entry.path(), folder).string());
  std::sort(files.begin(), files.end());
  return files;
}

json file_facts(uintmax_t size, const std::string& sha256) {
  return {{"size", size}, {"sha256", sha256}};
}

json describe_file(const fs::path& path) {
  return file_facts(fs::file_size(path), sha256_file(path));
}

json read_progress(const fs::path& folder) {
  const fs::path path = folder / kProgressFile;
  std::error_code error;
  json progress = fs::is_regular_file(path, error) ? json::parse(read_file(path), nullptr, false) : json();
  const auto is_number = [&](const char* key) { return progress.contains(key) && progress[key].is_number_integer(); };
  if (!progress.is_object() || !progress.contains("format") || progress["format"] != "spt-checkpoint" ||
      !is_number("version") || !is_number("step") || !progress.contains("files") || !progress["files"].is_object())
    throw TornCheckpoint(fmt::format("{}: missing or broken", path.string()));
  for (const auto& [name, facts] : progress["files"].items())
    if (!facts.is_object() || !facts.contains("size") || !facts["size"].is_number_unsigned() ||
        !facts.contains("sha256") || !facts["sha256"].is_string())
      throw TornCheckpoint(fmt::format("{}: says no size and SHA-256 of {}", path.string(), name));
  if (progress["version"] > kProgressVersion)
    throw BadInput(fmt::format("{}: version {} is newer than this program knows ({})", path.string(),
                               progress["version"].dump(), kProgressVersion));
  if (const auto step = step_of(folder); step && progress["step"] != *step)
    throw BadInput(fmt::format(
        "{}: says step {}, the folder's name says {}; give the folder its name again, or remove it to go on "
        "from an older checkpoint",
        path.string(), progress["step"].dump(), *step));
  return progress;
}

void check_listing(const fs::path& folder, const json& progress) {
  const std::vector<std::string> there = files_below(folder);
  for (const auto& [file, facts] : progress["files"].items())
    if (!std::binary_search(there.begin(), there.end(), file))
      throw TornCheckpoint(fmt::format("{}: missing", (folder / file).string()));
  for (const std::string& file : there)
    if (file != kProgressFile && !progress["files"].contains(file))
      throw BadInput(fmt::format(
          "{}: an extra file; the checkpoint is not what was saved; remove the file, or the folder to go on "
          "from an older one",
          (folder / file).string()));
}

void check_unchanged(const fs::path& folder, const json& expected, const json& found) {
  for (const auto& [file, facts] : expected.items())
    if (const json& now = found.at(file); now != facts)
      throw TornCheckpoint(now.is_string() ? now.get<std::string>()
                                           : fmt::format("{}: changed since it was saved", (folder / file).string()));
}

void verify_checkpoint(const fs::path& folder) {
  const json progress = read_progress(folder);
  check_listing(folder, progress);
  for (const auto& [file, facts] : progress["files"].items())
    check_unchanged(folder, {{file, facts}}, {{file, describe_file(folder / file)}});
}

}  // namespace spt
