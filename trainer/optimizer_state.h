// The optimizer's state in a checkpoint: optimizer/dp-DDDD-tp-TTTT.safetensors, one file a rank, loadable on any dp ×
// tp.
//
// What a rank owns of the flat buffers is cut into pieces, one a checkpoint tensor. Each piece is stored as
// "first_moment/NAME", "second_moment/NAME" and, unless the weights are fp32, "master/NAME": 1-d fp32. The file's
// metadata "pieces" is a JSON object NAME → [dim, begin, end, from, to]: elements [from, to) of the row-major tp part
// that is [begin, end) of dim `dim` (−1: the whole tensor). What all tp ranks hold is stored by tp rank 0 alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "dist/mesh.h"
#include "dist/shard.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/model/parameters.h"
#include "trainer/optim/zero_adamw.h"

namespace spt {

// Elements [from, to) of a shard's local row-major data, as stretches of the whole tensor's row-major data.
struct Run {
  int64_t begin = 0;  // in the whole tensor
  int64_t length = 0;
};
std::vector<Run> runs_of(const Shard& shard, int64_t from, int64_t to);

// The stretches of the flat buffers for ZeroAdamW: decay on matrices, replicated ones weigh 1/tp_size in the norm.
std::vector<Segment> segments_of(const Parameters& parameters, int tp_size);

// The optimizer of an allocated model.
std::unique_ptr<ZeroAdamW> make_optimizer(Parameters& parameters, const AdamWConfig& config, const Mesh& mesh,
                                          bool exact_norm = false);

// Writes this rank's file, below `folder` ("optimizer/").
void save_optimizer_state(CheckpointWriter& writer, const std::string& folder, const Parameters& parameters,
                          const ZeroAdamW& optimizer, int dp_rank, int tp_rank);
// What that is at most, and the copy of it where it is written in the background: bytes.
int64_t saved_state_bytes(int64_t owned, at::ScalarType dtype);
// Fills this rank's state from the files of `folder`, whatever layout wrote them: its own where the layout is the same,
// all of them where not. Throws BadInput naming the tensor when a part of it is nowhere.
void load_optimizer_state(const std::filesystem::path& folder, const Parameters& parameters, ZeroAdamW& optimizer,
                          int dp_rank, int tp_rank);

}  // namespace spt
