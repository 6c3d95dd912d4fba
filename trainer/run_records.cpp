#include "trainer/run_records.h"

#include "base/durable.h"
#include "base/log.h"

namespace spt {

RunRecords::RunRecords(const RunConfig& config, const nlohmann::json& manifest, int64_t done)
    : metrics_(config.run.dir / "metrics.jsonl", done), events_(config.run.dir / "tensorboard", done) {
  const std::filesystem::path file = config.run.dir / "config.yaml";
  if (done > 0)
    for (const std::string& line : differing_values(load_run_config(file, {}), config))
      spdlog::info("{} changes: {}", file.string(), line);
  write_durable(file, dump_fields(config));
  // Bytes of a path that are no UTF-8 become U+FFFD.
  write_durable(config.run.dir / "manifest.json",
                manifest.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void RunRecords::append(const MetricsRow& row) {
  metrics_.append(row);
  events_.add_scalar("loss", row.step, row.loss);
  events_.add_scalar("grad_norm", row.step, row.grad_norm);
  events_.add_scalar("lr", row.step, row.lr);
  events_.add_scalar("tokens_per_second", row.step, row.tokens_per_second);
  if (row.valid_loss) events_.add_scalar("valid_loss", row.step, *row.valid_loss);
  events_.flush();
}

}  // namespace spt
