#include "trainer/manifest.h"

#include <algorithm>
#include <fstream>
#include <map>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include "base/error.h"
#include "base/read_file.h"
#include "base/sha256.h"
#include "base/sha256_cache.h"
#include "base/version.h"
#include "data/h5_file.h"
#include "data/safetensors.h"
#include "dist/text.h"
#include "dist/versions.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Each scalar under its dotted path.
std::map<std::string, std::string> flat(const json& manifest, const std::vector<const char*>& keys) {
  std::map<std::string, std::string> values;
  json chosen;
  for (const char* key : keys) chosen[key] = manifest.value(key, json());
  const json by_pointer = chosen.flatten();
  for (const auto& [pointer, value] : by_pointer.items()) {
    std::string path = pointer.substr(1);
    std::replace(path.begin(), path.end(), '/', '.');
    if (!path.ends_with(".host")) values[path] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return values;
}

std::vector<std::string> differences_in(const json& there, const json& here, const std::vector<const char*>& keys) {
  const auto before = flat(there, keys), now = flat(here, keys);
  auto all = before;
  all.insert(now.begin(), now.end());
  const auto said = [](const std::map<std::string, std::string>& values, const std::string& key) {
    const auto found = values.find(key);
    return found == values.end() || found->second.empty() ? "none" : found->second;
  };
  std::vector<std::string> found;
  for (const auto& [key, value] : all)
    if (said(before, key) != said(now, key))
      found.push_back(fmt::format("{}: {} there, {} here", key, said(before, key), said(now, key)));
  return found;
}

}  // namespace

std::string weights_sha256(const fs::path& model, const std::stop_token& stop) {
  const SafetensorsReader reader(model);
  if (reader.files().size() == 1) return cached_sha256_file(reader.files()[0], stop);
  Sha256 hash;
  for (const fs::path& file : reader.files())
    hash.update(file.filename().string() + " " + cached_sha256_file(file, stop) + "\n");
  return hash.hex();
}

std::string model_config_sha256(const fs::path& model) {
  return sha256_file(model / "config.json");
}

std::string cpu_type() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

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
          {"valid_sha256", facts.valid_sha256},
          {"weights_sha256", facts.weights_sha256},
          {"model_config_sha256", facts.model_config_sha256},
          {"config", values_of(config)}};
}

json load_manifest(const fs::path& run) {
  const fs::path path = run / "manifest.json";
  json manifest = json::parse(read_file(path), nullptr, false);
  const auto is = [&](const json& object, const char* key, json::value_t type) {
    return object.is_object() && object.contains(key) && object[key].type() == type;
  };
  const auto refuse = [&](const std::string& what) { throw BadInput(fmt::format("{}: {}", path.string(), what)); };
  if (!manifest.is_object()) refuse("not a JSON object");
  if (!is(manifest, "config", json::value_t::object))
    refuse("has no configuration in it (key config): an older spt wrote it; spt train takes the run's config.yaml");
  for (const auto& [key, value] : manifest["config"].items())
    if (!value.is_string()) refuse(fmt::format("config.{} is {}, expected text", key, value.dump()));
  bool sound = is(manifest, "ranks", json::value_t::array) && is(manifest, "steps", json::value_t::number_unsigned);
  if (sound)
    for (const json& host : manifest["ranks"])
      sound = sound && is(host, "count", json::value_t::number_unsigned) &&
              is(host, "threads", json::value_t::number_unsigned);
  if (!sound || manifest["ranks"].empty()) refuse("lacks its ranks or steps; it is not what spt train writes");
  return manifest;
}

ManifestDifferences manifest_differences(const json& there, const json& here) {
  return {differences_in(there, here, {"corpus_sha256", "valid_sha256", "weights_sha256", "model_config_sha256"}),
          differences_in(there, here, {"program", "mesh", "ranks"})};
}

}  // namespace spt
