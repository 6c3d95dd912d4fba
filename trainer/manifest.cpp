#include "trainer/manifest.h"

#include <algorithm>
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
  const std::vector<std::string>& hosts = runtime.hosts();
  const auto first_of_host = std::find(hosts.begin(), hosts.end(), hosts[static_cast<size_t>(runtime.rank())]);
  const bool speaks = first_of_host - hosts.begin() == runtime.rank();
  const json mine = {{"host", *first_of_host},
                     {"count", std::count(hosts.begin(), hosts.end(), *first_of_host)},
                     {"threads", at::get_num_threads()},
                     {"cpu", cpu_type()},
                     {"device", c10::DeviceTypeName(runtime.device().type(), true)}};
  json ranks = json::array();  // those of a host are alike: its first speaks for them
  for (const std::string& of_host : all_gather_text(runtime.host_world(), speaks ? mine.dump() : std::string()))
    if (!of_host.empty()) ranks.push_back(json::parse(of_host));
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
