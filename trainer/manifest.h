// manifest.json of a run folder: what ran, where, on what. Also behind `spt --version`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "dist/mesh.h"
#include "trainer/run_config.h"

namespace spt {

// Program version, git commit, versions of the libraries, backends built in.
nlohmann::json build_info();

struct ManifestFacts {
  std::string corpus_sha256, valid_sha256;  // content; empty without a held-out corpus
  std::string weights_sha256;               // of model.path's safetensors files; empty for random weights
  std::string model_config_sha256;          // of model.path's config.json
  int64_t steps = 0;                        // of the whole run
  std::vector<std::string> command_line;
};

// As manifest.json has it. Throws BadInput.
std::string weights_sha256(const std::filesystem::path& model, const std::stop_token& stop = {});
std::string model_config_sha256(const std::filesystem::path& model);

// Of this host, as /proc/cpuinfo names it.
std::string cpu_type();

// Collective: hosts, threads and CPU types are gathered.
nlohmann::json make_manifest(Runtime& runtime, const RunConfig& config, const ManifestFacts& facts);

// Of a run folder. Throws BadInput where there is none, or it has not what make_manifest writes.
nlohmann::json load_manifest(const std::filesystem::path& run);

// What another run's manifest says otherwise, a line each, with both values ("program.libraries.libtorch: 2.11.0 there,
// 2.12.0 here"): of the inputs, and of program, libraries, ranks, CPU types and threads. Hosts and command lines may
// differ; configurations are compared by `differing_values`.
struct ManifestDifferences {
  std::vector<std::string> inputs, machine;
};
ManifestDifferences manifest_differences(const nlohmann::json& there, const nlohmann::json& here);

}  // namespace spt
