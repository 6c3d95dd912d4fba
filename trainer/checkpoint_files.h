// progress.json of a checkpoint, and the folder against it. trainer/checkpoint.h says what it holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace spt {

inline constexpr const char* kProgressFile = "progress.json";
inline constexpr int kProgressVersion = 1;

// The N of a folder named step-N.
std::optional<int64_t> step_of(const std::filesystem::path& folder);

// Relative paths of all files below, sorted.
std::vector<std::string> files_below(const std::filesystem::path& folder);

// {"size", "sha256"} of a file.
nlohmann::json describe_file(const std::filesystem::path& path);

// Throws BadInput: missing or broken, of a newer version, of another step than the folder's name says (where it says
// one).
nlohmann::json read_progress(const std::filesystem::path& folder);

// Throws BadInput naming the file that is missing, or that is there and not listed.
void check_listing(const std::filesystem::path& folder, const nlohmann::json& progress);

// Throws BadInput where a file of `expected` (name → describe_file) is another one in `found`.
void check_unchanged(const std::filesystem::path& folder, const nlohmann::json& expected, const nlohmann::json& found);

// What CheckpointStore::verify does, in one process.
void verify_checkpoint(const std::filesystem::path& folder);

}  // namespace spt
