// generate_loop MODEL_DIR PROMPTS.jsonl BATCH OUT.jsonl [fp32|bf16]
//
// Greedy continuations of given lengths, for bench/generate_speed.sh and bench/gpu.sh. PROMPTS: {"prompt_ids": […],
// "new_tokens": N} a line; no token ends a continuation before. Under mpirun every rank takes its share (dp). OUT:
// {"output_ids": […]} a line. Prints seconds (of the slowest rank, without loading), tokens and tokens_per_second.
#include <chrono>
#include <fstream>

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "dist/mesh.h"
#include "dist/text.h"
#include "trainer/eval/generator.h"
#include "trainer/model/pretrained.h"

namespace {

using namespace spt;
using nlohmann::json;

struct Work {
  std::vector<Prompt> prompts;
  std::vector<int64_t> new_tokens;  // by Prompt::number
};

Work read_work(const std::filesystem::path& file) {
  std::ifstream lines(file);
  Work work;
  for (std::string line; std::getline(lines, line);) {
    const json row = json::parse(line);
    work.prompts.push_back({row.at("prompt_ids").get<std::vector<int32_t>>(), work.prompts.size()});
    work.new_tokens.push_back(row.at("new_tokens"));
  }
  if (work.prompts.empty()) throw BadInput(fmt::format("{} has no prompts", file.string()));
  return work;
}

// [number, ids] of this rank's share, in the order in which they ended.
json continue_all(CausalLm& model, const Work& work, int64_t batch, const Communicator& dp) {
  SamplingConfig config;
  config.max_new_tokens = *std::min_element(work.new_tokens.begin(), work.new_tokens.end());
  json made = json::array();
  auto next = static_cast<size_t>(dp.rank());
  SequenceStream stream;
  stream.next = [&](bool) -> std::optional<Prompt> {
    if (next >= work.prompts.size()) return std::nullopt;
    const size_t i = next;
    next += static_cast<size_t>(dp.size());
    return work.prompts[i];
  };
  stream.done = [&](const Prompt& prompt, const Continuation& continuation) -> std::optional<FollowUp> {
    const int64_t left = work.new_tokens[prompt.number] - static_cast<int64_t>(continuation.ids.size());
    if (left > 0) return FollowUp{{}, left};
    made.push_back({prompt.number, continuation.ids});
    return std::nullopt;
  };
  constexpr int32_t kNoEos = -1;
  generate(model, kNoEos, config, {batch}, stream);
  return made;
}

void measure(const std::filesystem::path& folder, const std::filesystem::path& prompts, int64_t batch,
             const std::filesystem::path& out, at::ScalarType dtype, Runtime& runtime) {
  Mesh mesh(runtime, {});
  CausalLm model(load_model_config(folder), mesh.place.tp_rank, mesh.tp->size());
  model.allocate(*mesh.tp, {{dtype}});
  load_pretrained(model, folder);
  const Work work = read_work(prompts);
  const auto begin = std::chrono::steady_clock::now();
  const json mine = continue_all(model, work, batch, *mesh.dp);
  at::Tensor seconds =
      at::full({}, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), at::kDouble);
  runtime.host_world().all_reduce(seconds, Reduce::kMax);
  std::vector<json> rows(work.prompts.size());
  for (const std::string& part : all_gather_text(runtime.host_world(), mine.dump()))
    for (const json& row : json::parse(part)) rows[row[0].get<size_t>()] = {{"output_ids", row[1]}};
  if (runtime.rank() != 0) return;
  int64_t tokens = 0;
  std::string lines;
  for (const json& row : rows) {
    tokens += static_cast<int64_t>(row["output_ids"].size());
    lines += row.dump() + "\n";
  }
  write_durable(out, lines);
  fmt::print("{}\n", json{{"program", "spt"},
                          {"batch", batch},
                          {"answers", rows.size()},
                          {"seconds", seconds.item<double>()},
                          {"tokens", tokens},
                          {"tokens_per_second", static_cast<double>(tokens) / seconds.item<double>()}}
                         .dump());
}

}  // namespace

int main(int argc, char** argv) {
  return run_distributed(argc, argv, [&](Runtime& runtime) {
    const std::string dtype = argc == 6 ? argv[5] : "fp32";
    if (argc < 5 || argc > 6 || (dtype != "fp32" && dtype != "bf16"))
      throw BadInput("usage: generate_loop MODEL_DIR PROMPTS.jsonl BATCH OUT.jsonl [fp32|bf16]");
    measure(argv[1], argv[2], std::stoll(argv[3]), argv[4], dtype == "fp32" ? at::kFloat : at::kBFloat16, runtime);
    return ExitStatus::kDone;
  });
}
