// manifest.json of a run folder: what ran, where, on what. Also behind `spt --version`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "dist/mesh.h"
#include "trainer/run_config.h"

namespace spt {

// Program version, git commit, versions of the libraries, backends built in.
nlohmann::json build_info();

struct ManifestFacts {
  std::string corpus_sha256;   // content
  std::string weights_sha256;  // of model.path's safetensors files; empty for random weights
  int64_t steps = 0;           // of the whole run
  std::vector<std::string> command_line;
};

// Collective: hosts, threads and CPU types are gathered.
nlohmann::json make_manifest(Runtime& runtime, const RunConfig& config, const ManifestFacts& facts);

}  // namespace spt
