// `spt annotate --checkpoint`: the program's own generator answers, on all ranks of the job.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/annotate.h"
#include "dist/runtime.h"

namespace spt {

struct CheckpointOptions {
  std::filesystem::path folder;
  std::string chat_template;  // empty: that of the folder's spt.json
  int64_t batch = 16;         // prompts side by side on a dp rank
  std::vector<std::string> overrides;
};

// Until all work is done, or rank 0 sees a stop request. Collective; rank 0 alone owns the `annotation` (null
// elsewhere), its files and its progress (`show` after each answer). Greedy, so the answers do not depend on the number
// of ranks. Prompts go out in rounds of dp × batch.
void annotate_by_checkpoint(Runtime& runtime, const CheckpointOptions& options, int64_t max_new_tokens,
                            Annotation* annotation, const std::function<void()>& show);

}  // namespace spt
