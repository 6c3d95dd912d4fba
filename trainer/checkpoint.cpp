#include "trainer/checkpoint.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/durable.h"
#include "base/error.h"
#include "dist/text.h"
#include "trainer/checkpoint_files.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Name → {"size", "sha256"} of each file, the ranks of `host` sharing the work.
json describe(const fs::path& folder, const std::vector<std::string>& files, Communicator& host) {
  json mine = json::object();
  for (size_t i = static_cast<size_t>(host.rank()); i < files.size(); i += static_cast<size_t>(host.size())) {
    mine[files[i]] = describe_file(folder / files[i]);
  }
  json all = json::object();
  for (const std::string& part : all_gather_text(host, mine.dump())) all.update(json::parse(part));
  return all;
}

void remove_or_warn(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) spdlog::warn("{}: cannot be removed yet: {}", folder.string(), error.message());
}

}  // namespace

fs::path CheckpointStore::path(int64_t step) const {
  return folder_ / fmt::format("step-{:06}", step);
}

std::vector<int64_t> CheckpointStore::steps() const {
  std::vector<int64_t> found;
  if (!fs::is_directory(folder_)) return found;
  for (const auto& entry : fs::directory_iterator(folder_))
    if (const auto step = step_of(entry.path())) found.push_back(*step);
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<int64_t> CheckpointStore::newest() const {
  std::string choice;
  if (host_.rank() == 0)
    if (const std::vector<int64_t> found = steps(); !found.empty()) choice = std::to_string(found.back());
  choice = broadcast_text(host_, choice);
  return choice.empty() ? std::nullopt : std::optional(std::stoll(choice));
}

void CheckpointStore::verify(int64_t step) const {
  const fs::path folder = path(step);
  // Rank 0's view counts: caches of a network file system differ.
  std::string text;
  if (host_.rank() == 0) {
    const json progress = read_progress(folder);
    check_listing(folder, progress);
    text = progress["files"].dump();
  }
  const json expected = json::parse(broadcast_text(host_, text));
  std::vector<std::string> files;
  for (const auto& [file, facts] : expected.items()) files.push_back(file);
  check_unchanged(folder, expected, describe(folder, files, host_));
}

void CheckpointStore::remove_leftovers() const {
  if (!fs::is_directory(folder_)) return;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && (name.ends_with(".partial") || name.ends_with(".deleting"))) {
      spdlog::info("removing {}, left by a run that was killed", entry.path().string());
      remove_or_warn(entry.path());
    }
  }
}

void CheckpointStore::save(int64_t step, const std::function<void(const fs::path&)>& write) const {
  const fs::path whole = path(step);
  const fs::path partial = whole.string() + ".partial";
  std::string exists;
  if (host_.rank() == 0) {
    if (fs::exists(whole))
      exists = "yes";
    else {
      try {
        remove_leftovers();
        fs::create_directories(partial / "hf");
        fs::create_directories(partial / "optimizer");
        sync_folder(folder_.parent_path());
      } catch (const fs::filesystem_error& error) {
        throw Failure(fmt::format("{}: cannot be made: {}", partial.string(), error.code().message()));
      }
    }
  }
  if (!broadcast_text(host_, exists).empty()) return;
  write(partial);
  host_.barrier();

  std::string listing;
  if (host_.rank() == 0) listing = json(files_below(partial)).dump();
  const auto files = json::parse(broadcast_text(host_, listing)).get<std::vector<std::string>>();
  const json facts = describe(partial, files, host_);
  if (host_.rank() == 0) {
    write_durable(
        partial / kProgressFile,
        json{{"format", "spt-checkpoint"}, {"version", kProgressVersion}, {"step", step}, {"files", facts}}.dump(2) +
            "\n");
    sync_folder(partial / "hf");
    sync_folder(partial / "optimizer");
    sync_folder(partial);
    rename_durable(partial, whole);
  }
  host_.barrier();
}

void CheckpointStore::prune(int64_t keep) const {
  if (host_.rank() == 0) {
    remove_leftovers();
    const std::vector<int64_t> all = steps();
    for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
      const fs::path deleting = path(all[i]).string() + ".deleting";
      rename_durable(path(all[i]), deleting);
      remove_or_warn(deleting);
    }
  }
  host_.barrier();
}

}  // namespace spt
