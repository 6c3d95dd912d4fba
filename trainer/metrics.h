// metrics.jsonl of a run folder: one JSON object a line, one line a step, in the order of the steps. A number that is
// not finite (a loss that ran away) is written as null, because JSON has no word for it, and reads back as NaN.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace spt {

struct MetricsRow {
  int64_t step = 0;  // from 1
  int64_t epoch = 0;
  double loss = 0;                   // mean over the step's trained tokens, all ranks
  std::optional<double> valid_loss;  // when measured after this step
  double grad_norm = 0;              // before clipping
  double lr = 0;
  int64_t trained_tokens = 0;  // of this step, all ranks
  int64_t tokens = 0;
  double seconds = 0;
  double data_seconds = 0;  // of `seconds`, spent waiting for rows
  double tokens_per_second = 0;
  std::optional<double>
      comm_exposed_seconds;   // of `seconds`, in which a rank only communicated or waited for others to:
                              // the mean over ranks; absent on GPUs, which communicate on their own
  std::optional<double> mfu;  // share of the GPUs' peak (trainer/model_flops.h); absent where that is not known
  int64_t memory_bytes = 0;   // peak of the rank that needs most
  std::optional<int64_t> device_allocations;  // calls of cudaMalloc so far, of the rank with most; absent on a CPU
};

// Rows of a file that may still be written: a torn last line (without its line feed) is left out. Unknown keys are
// ignored. Throws BadInput with the line's number for anything else that is no row.
std::vector<MetricsRow> read_metrics(const std::filesystem::path& path);

// Where `here` is not `there` again to the bit, in what training makes (step, loss, valid_loss, grad_norm, lr,
// trained_tokens), not in times and memory: "step 3: loss is 3.5 there, 3.25 here". Empty where it is, also where
// `here` has more rows.
std::string first_difference(const std::vector<MetricsRow>& there, const std::vector<MetricsRow>& here);

// At most about `most` rows, to be drawn: of each stretch of neighbours the first, those of the largest loss and
// gradient norm (or the first that is not finite), and every one with a valid_loss; and the last.
std::vector<MetricsRow> thinned(const std::vector<MetricsRow>& rows, size_t most);

class MetricsWriter {
 public:
  // Keeps the rows up to `resume_after_step` as they are and cuts the later ones and a torn last line; 0 begins anew.
  // The cut replaces the file as a whole. Throws as `read_metrics`, and Failure when the file cannot be written.
  MetricsWriter(const std::filesystem::path& path, int64_t resume_after_step);

  // The line is with the kernel when this returns: it survives the process, not the machine.
  void append(const MetricsRow& row);

 private:
  std::filesystem::path path_;
  std::ofstream stream_;
};

}  // namespace spt
