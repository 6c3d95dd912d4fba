// What a run reads, checked against each other before anything is started or changed.
#pragma once

#include <memory>

#include "data/chat_template.h"
#include "data/dataset.h"
#include "data/sampler.h"
#include "data/tokenizer.h"
#include "dist/runtime.h"
#include "trainer/hf_folder.h"
#include "trainer/model/model_config.h"
#include "trainer/run_config.h"

namespace spt {

struct RunInputs {
  ModelConfig model;
  ModelFiles model_files;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Dataset> train, valid;  // valid: may be none
  ChatTemplate chat_template;             // of the training corpus
  SamplerConfig sampler;
  int64_t total_steps = 0;
  int64_t save_every = 0;
};

// Throws BadInput unless the run folder can be made or written, and holds no run with another configuration.
void check_run_folder(const RunConfig& config);

// Throws BadInput where the corpus does not go with the model or data.max_tokens.
void check_corpus(const Dataset& corpus, const RunConfig& config, const ModelConfig& model);
// Steps of the whole run. Throws BadInput where its warm-up takes as many.
int64_t total_steps(const RunConfig& config, const SamplerConfig& sampler);

// Steps between checkpoints.
int64_t save_every(const RunConfig& config, const SamplerConfig& sampler);

// Collective. Throws BadInput: what check_run_folder refuses, a damaged corpus, files that a host does not see as rank
// 0 does, a corpus of another tokenizer, of another arm than the training one, or longer than the model takes, a
// data.max_tokens above the corpus's own or that leaves an example without a trained token, a tokenizer larger than the
// vocabulary, more warm-up than steps.
RunInputs load_run_inputs(const RunConfig& config, Runtime& runtime);

// For the log: an example's id, its length, and its tokens with what is trained in ⟦ ⟧.
std::string describe_example(const Dataset& corpus, int64_t row, const Tokenizer& tokenizer);

}  // namespace spt
