// A run's configuration for scripts.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

namespace spt {

// A run folder's config.yaml by dotted key, each value of the type that the key has; of a key that this version does
// not know, of the type that it looks like. Throws BadInput where it cannot be read.
nlohmann::ordered_json typed_config(const std::filesystem::path& run);

}  // namespace spt
