// The folders runs/NAME/checkpoints/step-000123: whole or not there.
//
// A checkpoint is written as step-N.partial, its files and folders synced, then renamed; so a folder named step-N is
// whole. Inside, `hf/` and `optimizer/` are the caller's; progress.json is ours:
//   {"format": "spt-checkpoint", "version": 1, "step": N, "files": {"hf/config.json": {"size", "sha256"}, …}}
// It lists every other file. One that is missing or changed makes the checkpoint a bad one, step-N.bad, and the one
// before it is used; one that is extra makes it refused. Pruning renames to step-N.deleting first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "dist/communicator.h"
#include "trainer/checkpoint_writer.h"

namespace spt {

// A checkpoint that could not be written. Every rank throws the same, so that they may go on without it.
class NotSaved : public Failure {
 public:
  using Failure::Failure;
};

class CheckpointStore {
 public:
  // `folder` is made with the first checkpoint. Collective calls are over `host`, a group of CPU ranks that share the
  // file system.
  CheckpointStore(std::filesystem::path folder, Communicator& host) : folder_(std::move(folder)), host_(host) {}

  // Collective. The newest step that has a folder: rank 0 looks, all ranks hear the same.
  std::optional<int64_t> newest() const;
  // Collective: the first file that is not as progress.json says, the ranks sharing the hashing; "" for a whole
  // checkpoint. Throws BadInput saying what to do about an extra file, a newer version, a folder of another name.
  std::string fault(int64_t step) const;
  // Collective: the newest step without a fault. Those after it are named in warnings and become step-N.bad; where no
  // other is older, throws BadInput.
  std::optional<int64_t> newest_whole() const;

  // Collective: makes step-N.partial with hf/ and optimizer/ in it, for each rank's CheckpointWriter. False, and
  // nothing is made, where step-N exists. Throws NotSaved.
  bool begin(int64_t step) const;
  // Collective: what the ranks wrote becomes step-N. Throws NotSaved with a failure among them, or one of its own; the
  // partial folder is gone then, the older checkpoints are as they were.
  void commit(int64_t step, const WrittenFiles& mine) const;
  // Collective: rank 0 removes what was left half done and all but the newest `keep`. What cannot be removed (another
  // process reads it over NFS) is logged and tried again next time.
  void prune(int64_t keep) const;

  std::filesystem::path path(int64_t step) const;
  std::filesystem::path partial_path(int64_t step) const;

 private:
  std::vector<int64_t> steps() const;  // ascending; on this rank
  void remove_leftovers() const;
  void set_aside(int64_t step, const std::string& fault) const;
  void make_whole(int64_t step, const nlohmann::json& files) const;

  std::filesystem::path folder_;
  Communicator& host_;
};

}  // namespace spt
