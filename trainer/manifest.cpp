#include "trainer/manifest.h"

#include <fstream>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include "base/version.h"
#include "data/h5_file.h"
#include "dist/text.h"
#include "dist/versions.h"

namespace spt {
namespace {

using nlohmann::json;

std::string cpu_type() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

}  // namespace

json build_info() {
  return {{"version", kVersion},
          {"git_commit", kGitCommit},
          {"libraries", {{"libtorch", TORCH_VERSION}, {"hdf5", hdf5_version()}, {"mpi", mpi_library_version()}}},
          {"backends", backends_built_in()}};
}

json make_manifest(Runtime& runtime, const RunConfig& config, const ManifestFacts& facts) {
  const json mine = {{"host", runtime.hosts()[static_cast<size_t>(runtime.rank())]},
                     {"threads", at::get_num_threads()},
                     {"cpu", cpu_type()},
                     {"device", runtime.device().str()}};
  json ranks = json::array();
  for (const std::string& rank : all_gather_text(runtime.host_world(), mine.dump())) ranks.push_back(json::parse(rank));
  return {{"program", build_info()},
          {"command_line", facts.command_line},
          {"mesh", {{"dp", runtime.size() / config.mesh.tp}, {"tp", config.mesh.tp}}},
          {"ranks", ranks},
          {"seed", config.run.seed},
          {"steps", facts.steps},
          {"corpus_sha256", facts.corpus_sha256},
          {"weights_sha256", facts.weights_sha256}};
}

}  // namespace spt
