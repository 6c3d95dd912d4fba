// What one rank writes of one checkpoint: at once, or from copies on a thread of its own, while training goes on.
//
// Ranks write in the midst of collectives, so what a file system does (a full disk, a quota, a folder that vanished)
// is not thrown: the first failure is kept and what would follow is left out, until the ranks agree on it
// (CheckpointStore::commit). Files are synced, and hashed as they are written: nothing is read again.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "data/safetensors.h"

namespace spt {

// Of one rank.
struct WrittenFiles {
  nlohmann::json facts = nlohmann::json::object();  // name → {"size", "sha256"} (trainer/checkpoint_files.h)
  std::string failure;                              // with the file and the reason; "" where all was written
};

class CheckpointWriter {
 public:
  // Files go below `folder`; the folders that their names begin with exist.
  CheckpointWriter(std::filesystem::path folder, bool in_background);
  // What is under way goes on until the process ends: a job that fails does not wait for a slow disk.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // A file as a whole.
  void write(const std::string& name, const std::string& bytes);
  // A safetensors file, whose tensors come next, in order.
  void begin(const std::string& name, const std::vector<SafetensorsEntry>& entries,
             const std::map<std::string, std::string>& metadata);
  // Contiguous. In the background it is copied, unless its memory is this call's alone. Throws Failure where there is
  // no memory for the copy.
  void write(at::Tensor next);

  // After the last call of those above: in the background the writing begins.
  void start();
  // Whether `written` returns at once.
  bool is_finished() const;
  // Waits until all is written, or something failed.
  const WrittenFiles& written();

 private:
  struct Files;
  void perform(std::function<void(Files&)> operation);

  bool in_background_;
  std::shared_ptr<Files> files_;  // the thread's, from `start` until it has finished
  std::vector<std::function<void(Files&)>> operations_;
  std::thread thread_;
};

}  // namespace spt
