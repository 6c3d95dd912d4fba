#include "data/prepare_check.h"

#include <fmt/format.h>

#include "base/durable.h"
#include "base/error.h"
#include "data/corpus.h"
#include "data/utf8.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxThreads = 1024;

void check_range(const char* option, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most)
    throw BadInput(fmt::format("{} is {}, expected {}…{}", option, value, least, most));
}

void check_corpus_output(const char* option, const fs::path& out, const PrepareConfig& config) {
  if (out.empty()) throw BadInput(fmt::format("{} is empty", option));
  require_no_device(out);
  std::error_code error;
  const fs::path folder = out.has_parent_path() ? out.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, error))
    throw BadInput(fmt::format("{}: the folder {} does not exist: create it", out.string(), folder.string()));
  if (fs::is_directory(out, error))
    throw BadInput(fmt::format("{}: is a folder, {} must name a file", out.string(), option));
  for (const fs::path& input : config.inputs)
    if (fs::equivalent(input, out, error))
      throw BadInput(fmt::format("{}: is input and output at once: choose another {}", out.string(), option));
  if (const auto files = corpus_files(out); !files.empty() && !config.force)
    throw BadInput(
        fmt::format("{}: exists already: choose another {}, or replace it with --force", files[0].string(), option));
  require_writable(folder, option);
}

// Records of several files may be called by their file's name.
void check_names(const std::vector<fs::path>& inputs) {
  if (inputs.size() < 2) return;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_utf8(fs::absolute(inputs[i]).string()))
      throw BadInput(fmt::format("{}: the name is not UTF-8, and records without an id are called by it: rename it",
                                 inputs[i].string()));
    std::error_code error;
    for (size_t other = 0; other < i; ++other)
      if (fs::equivalent(inputs[i], inputs[other], error))
        throw BadInput(fmt::format("{}: is given twice (as {}); --weight 2 takes each of its records twice",
                                   inputs[i].string(), inputs[other].string()));
  }
}

}  // namespace

void check_prepare(const PrepareConfig& config) {
  if (config.inputs.empty()) throw BadInput("no file of records was given");
  check_range("--max-tokens", config.max_tokens, 2, kMaxExampleTokens);
  check_range("--shards", config.shards, 1, kMaxCorpusParts);
  check_range("--threads", config.threads, 0, kMaxThreads);
  if (config.selection.weights.size() > config.inputs.size())
    throw BadInput(fmt::format("--weight is given {} times for {} files of records: one each, in their order",
                               config.selection.weights.size(), config.inputs.size()));
  config.ablation.check(config.arm);
  check_corpus_output("--out", config.out, config);
  if (config.selection.valid.has_value() == config.valid_out.empty())
    throw BadInput(
        "--valid and --valid-out belong together: how many records to hold out, and the corpus to write them to");
  if (!config.valid_out.empty()) {
    check_corpus_output("--valid-out", config.valid_out, config);
    if (fs::absolute(config.valid_out).lexically_normal() == fs::absolute(config.out).lexically_normal())
      throw BadInput(fmt::format("{}: is --out and --valid-out at once", config.out.string()));
  }
  check_names(config.inputs);
}

}  // namespace spt
