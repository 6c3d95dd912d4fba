// Start weights of a CausalLm: from a Hugging Face folder, or random.
#pragma once

#include <cstdint>
#include <filesystem>

#include "trainer/model/causal_lm.h"

namespace spt {

// Names and shapes of the folder's tensors against the model's, before any memory is allocated. Throws BadInput naming
// the folder and the tensors: missing ones, wrong shapes, unknown ones (a bias would change the mathematics), and two
// embeddings that config.json ties but that differ (both are read for that: one rank is enough).
void check_pretrained(const CausalLm& model, const std::filesystem::path& folder);

// Collective over `dp`. The same check of names and shapes, then this rank's slice of each weight, which one of the dp
// ranks reads, each in its turn, and broadcasts to the others: over dp the folder is read once, however many ranks
// there are. Tied embeddings may be stored under either name.
void load_pretrained(CausalLm& model, const std::filesystem::path& folder, Communicator& dp);
// The same for one rank, or a tp group, alone.
void load_pretrained(CausalLm& model, const std::filesystem::path& folder);

// Matrices from a normal distribution of config.initializer_range, norms 1. The same whole tensors for every tp: each
// is drawn from its own generator, seeded by `seed` and its name.
void init_random(CausalLm& model, uint64_t seed);

// The whole tensor of a shard on every rank of tp (collective): local part → shape shard.global.
at::Tensor gather_shard(const at::Tensor& part, const Shard& shard, Communicator& tp);

}  // namespace spt
