// What lies in a folder, as facts for people and scripts (spt inspect). Each throws BadInput, naming the file, for a
// folder that is damaged; with `verify`, everything in it is read and compared with what is said of it.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

namespace spt {

// A Hugging Face model folder: architecture, parameters, tensors by pattern of their names, tokenizer, and what
// spt.json tells. Weights may be absent. `verify`: every tensor is read; names and shapes must be the architecture's
// and values finite.
nlohmann::ordered_json describe_model(const std::filesystem::path& folder, bool verify);

// A folder step-N: files, the layout that wrote the optimizer's state, and the model in hf/. `verify`: sizes and
// SHA-256 of all files, and the model.
nlohmann::ordered_json describe_checkpoint(const std::filesystem::path& folder, bool verify);

// A run folder: whether it is at work or finished, what ran, losses, checkpoints, configuration. `verify`: each
// checkpoint's files.
nlohmann::ordered_json describe_run(const std::filesystem::path& folder, bool verify);

// An evaluation folder (results.json, samples/): the model, each task's result, and the files of samples with their
// numbers of lines.
nlohmann::ordered_json describe_evaluation(const std::filesystem::path& folder);

}  // namespace spt
