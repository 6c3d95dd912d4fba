#include <algorithm>
#include <cstdio>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/read_file.h"
#include "trainer/checkpoint_files.h"
#include "trainer/describe.h"
#include "trainer/metrics.h"
#include "trainer/run_lock.h"
#include "trainer/typed_config.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

int64_t bytes_of(const json& files) {
  int64_t bytes = 0;
  for (const auto& [file, facts] : files.items()) bytes += facts["size"].get<int64_t>();
  return bytes;
}

// From the names dp-DDDD-tp-TTTT.safetensors of the ranks' files; null where there are none.
ordered_json optimizer_layout(const json& files) {
  int dp = 0, tp = 0;
  for (const auto& [file, facts] : files.items()) {
    int dp_rank = 0, tp_rank = 0;
    if (std::sscanf(file.c_str(), "optimizer/dp-%d-tp-%d.safetensors", &dp_rank, &tp_rank) != 2) continue;
    dp = std::max(dp, dp_rank + 1);
    tp = std::max(tp, tp_rank + 1);
  }
  return dp == 0 ? ordered_json() : ordered_json{{"dp", dp}, {"tp", tp}};
}

// Checkpoints of a run, ascending.
std::vector<fs::path> checkpoints_of(const fs::path& run) {
  std::vector<fs::path> folders;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", none))
    if (step_of(entry.path())) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end(), [](const auto& a, const auto& b) { return step_of(a) < step_of(b); });
  return folders;
}

json read_manifest(const fs::path& run) {
  json manifest = json::parse(read_file(run / "manifest.json"), nullptr, false);
  if (!manifest.is_object()) throw BadInput(fmt::format("{}: not a JSON object", (run / "manifest.json").string()));
  return manifest;
}

ordered_json describe_manifest(const json& manifest, const fs::path& run) try {
  ordered_json out;
  for (const char* key : {"program", "command_line", "mesh", "seed", "steps", "corpus_sha256", "weights_sha256"})
    if (manifest.contains(key)) out[key] = manifest[key];
  std::set<std::string> hosts;
  for (const json& rank : manifest.at("ranks")) hosts.insert(rank.at("host"));
  out["hosts"] = hosts;
  return out;
} catch (const json::exception&) {
  throw BadInput(
      fmt::format("{}: lacks the ranks' hosts; it is not what spt train writes", (run / "manifest.json").string()));
}

ordered_json describe_metrics(const std::vector<MetricsRow>& rows) {
  const MetricsRow& last = rows.back();
  ordered_json held_out = ordered_json::array();
  for (const MetricsRow& row : rows)
    if (row.valid_loss) held_out.push_back({{"step", row.step}, {"valid_loss", *row.valid_loss}});
  return {{"steps", last.step},
          {"epoch", last.epoch},
          {"first_loss", rows.front().loss},
          {"last_loss", last.loss},
          {"grad_norm", last.grad_norm},
          {"lr", last.lr},
          {"tokens_per_second", last.tokens_per_second},
          {"memory_bytes", last.memory_bytes},
          {"held_out", held_out}};
}

std::string state_of(const fs::path& run, int64_t step, const json& total) {
  const std::string steps = total.is_number_integer() ? fmt::format("{} of {} steps", step, total.get<int64_t>())
                                                      : fmt::format("{} steps", step);
  if (const auto holder = run_lock_holder(run)) return fmt::format("in use by {}, {}", *holder, steps);
  if (total.is_number_integer() && step >= total.get<int64_t>()) return "finished, " + steps;
  return fmt::format("not at work, {}; the same command goes on", steps);
}

}  // namespace

ordered_json describe_checkpoint(const fs::path& folder, bool verify) {
  if (verify) verify_checkpoint(folder);
  const json progress = read_progress(folder);
  check_listing(folder, progress);
  ordered_json files = ordered_json::array();
  for (const auto& [file, facts] : progress["files"].items())
    files.push_back({{"name", file}, {"bytes", facts["size"]}, {"sha256", facts["sha256"]}});
  ordered_json out = {{"path", folder.string()},
                      {"kind", "checkpoint"},
                      {"step", progress["step"]},
                      {"bytes", bytes_of(progress["files"])},
                      {"optimizer", optimizer_layout(progress["files"])},
                      {"files", files},
                      {"model", describe_model(folder / "hf", verify)}};
  if (verify) out["verified"] = true;
  return out;
}

ordered_json describe_run(const fs::path& folder, bool verify) {
  const json manifest = read_manifest(folder);
  const fs::path metrics = folder / "metrics.jsonl";
  const std::vector<MetricsRow> rows = fs::exists(metrics) ? read_metrics(metrics) : std::vector<MetricsRow>();
  ordered_json saved = ordered_json::array();
  int64_t last_saved = 0;
  for (const fs::path& checkpoint : checkpoints_of(folder)) {
    if (verify) verify_checkpoint(checkpoint);
    const json progress = read_progress(checkpoint);
    last_saved = progress["step"].get<int64_t>();
    saved.push_back({{"name", checkpoint.filename().string()},
                     {"bytes", bytes_of(progress["files"])},
                     {"optimizer", optimizer_layout(progress["files"])}});
  }
  ordered_json out = {{"path", folder.string()},
                      {"kind", "run"},
                      {"state", state_of(folder, last_saved, manifest.value("steps", json()))},
                      {"manifest", describe_manifest(manifest, folder)}};
  if (!rows.empty()) out["metrics"] = describe_metrics(rows);
  out["checkpoints"] = saved;
  out["config"] = typed_config(folder);
  if (verify) out["verified"] = true;
  return out;
}

}  // namespace spt
