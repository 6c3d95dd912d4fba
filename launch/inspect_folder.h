// What trainer/describe does not tell of folders.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

namespace spt {

// A run folder's config.yaml by dotted key, each value of the type that the key has; of a key that this version does
// not know, of the type that it looks like. Throws BadInput where it cannot be read.
nlohmann::ordered_json typed_config(const std::filesystem::path& run);

// An evaluation folder (results.json, samples/): the model, each task's result, and the files of samples with their
// numbers of lines. Throws BadInput, naming the file, where results.json is not what spt eval writes.
nlohmann::ordered_json describe_evaluation(const std::filesystem::path& folder);

}  // namespace spt
