// progress.json of a checkpoint, and the folder against it. trainer/checkpoint.h says what it holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace spt {

// A checkpoint that is not as it was saved: a file is missing or changed, or the list of them.
class TornCheckpoint : public BadInput {
 public:
  using BadInput::BadInput;
};

inline constexpr const char* kProgressFile = "progress.json";
inline constexpr int kProgressVersion = 1;

// The N of a folder named step-N.
std::optional<int64_t> step_of(const std::filesystem::path& folder);

// Relative paths of all files below, sorted.
std::vector<std::string> files_below(const std::filesystem::path& folder);

// {"size", "sha256"}: what is known of a file, and of one that is there.
nlohmann::json file_facts(uintmax_t size, const std::string& sha256);
nlohmann::json describe_file(const std::filesystem::path& path);

// Throws TornCheckpoint: missing or broken; BadInput: of a newer version, of another step than the folder's name says
// (where it says one).
nlohmann::json read_progress(const std::filesystem::path& folder);

// Throws TornCheckpoint naming the file that is missing, BadInput naming one that is there and not listed.
void check_listing(const std::filesystem::path& folder, const nlohmann::json& progress);

// Throws TornCheckpoint where a file of `expected` (name → describe_file) is another one in `found`, which has in its
// place why it could not be read.
void check_unchanged(const std::filesystem::path& folder, const nlohmann::json& expected, const nlohmann::json& found);

// What CheckpointStore::fault does, in one process: throws TornCheckpoint or BadInput.
void verify_checkpoint(const std::filesystem::path& folder);

}  // namespace spt
