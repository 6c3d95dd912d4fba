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

// Name → {"size", "sha256"} of each file, or why it cannot be read, the ranks of `host` sharing the work.
json describe(const fs::path& folder, const std::vector<std::string>& files, Communicator& host) {
  json mine = json::object();
  for (size_t i = static_cast<size_t>(host.rank()); i < files.size(); i += static_cast<size_t>(host.size())) {
    try {
      mine[files[i]] = describe_file(folder / files[i]);
    } catch (const std::exception& error) {
      mine[files[i]] = error.what();
    }
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

fs::path CheckpointStore::partial_path(int64_t step) const {
  return path(step).string() + ".partial";
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

std::string CheckpointStore::fault(int64_t step) const {
  const fs::path folder = path(step);
  // Rank 0's view counts: caches of a network file system differ.
  std::string found, listed;
  if (host_.rank() == 0) {
    try {
      const json progress = read_progress(folder);
      check_listing(folder, progress);
      listed = progress["files"].dump();
    } catch (const TornCheckpoint& torn) {
      found = torn.what();
    }
  }
  found = broadcast_text(host_, found);
  if (!found.empty()) return found;
  const json expected = json::parse(broadcast_text(host_, listed));
  std::vector<std::string> files;
  for (const auto& [file, facts] : expected.items()) files.push_back(file);
  try {
    check_unchanged(folder, expected, describe(folder, files, host_));
  } catch (const TornCheckpoint& torn) {  // on every rank
    found = torn.what();
  }
  return found;
}

std::optional<int64_t> CheckpointStore::newest_whole() const {
  while (const std::optional<int64_t> step = newest()) {
    const std::string found = fault(*step);
    if (found.empty()) return step;
    if (host_.rank() == 0) set_aside(*step, found);
    host_.barrier();
  }
  return std::nullopt;
}

void CheckpointStore::set_aside(int64_t step, const std::string& fault) const {
  const std::vector<int64_t> all = steps();
  if (all.size() < 2)
    throw BadInput(
        fmt::format("{}; there is no older checkpoint: put back what was saved, or remove the folder {} to "
                    "begin anew",
                    fault, path(step).string()));
  const fs::path bad = path(step).string() + ".bad";
  fs::remove_all(bad);
  rename_durable(path(step), bad);
  spdlog::warn("{}; training goes back to {}; the bad checkpoint is now {}, to be looked at and removed", fault,
               path(all[all.size() - 2]).filename().string(), bad.string());
}

void CheckpointStore::remove_leftovers() const {
  if (!fs::is_directory(folder_)) return;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && (name.ends_with(".partial") || name.ends_with(".deleting"))) {
      spdlog::info("removing {}, which is half done", entry.path().string());
      remove_or_warn(entry.path());
    }
  }
}

bool CheckpointStore::begin(int64_t step) const {
  const fs::path partial = partial_path(step);
  std::string failure;
  bool exists = false;
  if (host_.rank() == 0) {
    try {
      exists = fs::exists(path(step));
      if (!exists) {
        remove_leftovers();
        fs::create_directories(partial / "hf");
        fs::create_directories(partial / "optimizer");
        sync_folder(folder_.parent_path());
      }
    } catch (const fs::filesystem_error& error) {
      failure = fmt::format("{}: cannot be made: {}", partial.string(), error.code().message());
    } catch (const Failure& error) {
      failure = error.what();
    }
  }
  failure = broadcast_text(host_, failure);
  if (!failure.empty()) throw NotSaved(failure);
  return broadcast_text(host_, exists ? "exists" : "").empty();
}

void CheckpointStore::commit(int64_t step, const WrittenFiles& mine) const {
  std::string failure;
  for (const std::string& of_rank : all_gather_text(host_, mine.failure))
    if (failure.empty()) failure = of_rank;
  if (failure.empty()) {
    json files = json::object();
    for (const std::string& part : all_gather_text(host_, mine.facts.dump())) files.update(json::parse(part));
    if (host_.rank() == 0) {
      try {
        make_whole(step, files);
      } catch (const std::exception& error) {
        failure = error.what();
      }
    }
    failure = broadcast_text(host_, failure);
  }
  if (failure.empty()) return;
  if (host_.rank() == 0) remove_or_warn(partial_path(step));
  host_.barrier();
  throw NotSaved(failure);
}

void CheckpointStore::make_whole(int64_t step, const json& files) const {
  const fs::path partial = partial_path(step);
  for (const auto& [name, facts] : files.items()) {
    std::error_code error;
    if (fs::file_size(partial / name, error) != facts["size"].get<uintmax_t>())
      throw Failure(fmt::format("{}: is not what was written: {}", (partial / name).string(),
                                error ? error.message() : "it has another size"));
  }
  write_durable(
      partial / kProgressFile,
      json{{"format", "spt-checkpoint"}, {"version", kProgressVersion}, {"step", step}, {"files", files}}.dump(2) +
          "\n");
  sync_folder(partial / "hf");
  sync_folder(partial / "optimizer");
  sync_folder(partial);
  rename_durable(partial, path(step));
}

void CheckpointStore::prune(int64_t keep) const {
  if (host_.rank() == 0) {
    try {
      remove_leftovers();
      const std::vector<int64_t> all = steps();
      for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
        const fs::path deleting = path(all[i]).string() + ".deleting";
        rename_durable(path(all[i]), deleting);
        remove_or_warn(deleting);
      }
    } catch (const std::exception& error) {
      spdlog::warn("older checkpoints cannot be removed yet: {}", error.what());
    }
  }
  host_.barrier();
}

}  // namespace spt
