// What rank 0 writes of a run besides its checkpoints: config.yaml, manifest.json, metrics.jsonl, TensorBoard events.
#pragma once

#include <nlohmann/json.hpp>

#include "trainer/metrics.h"
#include "trainer/run_config.h"
#include "trainer/tensorboard.h"

namespace spt {

class RunRecords {
 public:
  // Writes configuration and manifest, and keeps the metrics of the first `done` steps.
  RunRecords(const RunConfig& config, const nlohmann::json& manifest, int64_t done);
  void append(const MetricsRow& row);

 private:
  MetricsWriter metrics_;
  EventWriter events_;
};

}  // namespace spt
