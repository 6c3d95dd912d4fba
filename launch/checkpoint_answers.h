// What `annotate` and `judge` ask of `--checkpoint`: the program's own generator answers, on all ranks of the job.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "data/chat.h"
#include "data/chat_template.h"
#include "dist/runtime.h"

namespace spt {

struct CheckpointOptions {
  std::filesystem::path folder;
  std::string chat_template;  // empty: that of the folder's spt.json
  int64_t batch = 16;         // prompts side by side on a dp rank
  std::vector<std::string> overrides;
};

// --checkpoint, --template, --batch, and the rest of the command line as key=value.
void add_checkpoint_options(CLI::App& command, CheckpointOptions& options);

// The template by which the checkpoint is asked. Throws BadInput where neither folder nor options say one.
ChatTemplate require_template(const CheckpointOptions& options);

// What rank 0 alone owns: the work, its files and its progress.
struct ChatWork {
  // Called once, before the first prompt, with the model's name and what else changes its answers, as JSON.
  std::function<void(const std::string& model, const std::string& settings)> begin;
  NextPrompt next;
  TakeAnswer take;
};

// Until all work is done, or rank 0 sees a stop request. Collective; `work` is null but on rank 0. Greedy, so the
// answers do not depend on the number of ranks. Prompts go out in rounds of dp × batch; where there is none, no weights
// are read.
void answer_by_checkpoint(Runtime& runtime, const CheckpointOptions& options, int64_t max_new_tokens,
                          const ChatWork* work);

}  // namespace spt
