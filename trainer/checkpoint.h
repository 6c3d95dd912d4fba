// The folders runs/NAME/checkpoints/step-000123: whole or not there.
//
// A checkpoint is written as step-N.partial, its files and folders synced, then renamed; so a folder named step-N is
// whole. Inside, `hf/` and `optimizer/` are the caller's; progress.json is ours:
//   {"format": "spt-checkpoint", "version": 1, "step": N, "files": {"hf/config.json": {"size", "sha256"}, …}}
// It lists every other file; one that is missing, extra or changed makes the checkpoint refused. Pruning renames to
// step-N.deleting first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "dist/communicator.h"

namespace spt {

class CheckpointStore {
 public:
  // `folder` is made by the first save. Collective calls are over `host`, a group of CPU ranks that share the file
  // system.
  CheckpointStore(std::filesystem::path folder, Communicator& host) : folder_(std::move(folder)), host_(host) {}

  // Collective. The newest step that has a folder: rank 0 looks, all ranks hear the same.
  std::optional<int64_t> newest() const;
  // Collective: compares every file with progress.json, the ranks sharing the hashing. Throws BadInput naming the file
  // and saying what to do.
  void verify(int64_t step) const;
  // Collective: `write` fills the partial folder (with hf/ and optimizer/ in it) on all ranks; then it becomes step-N.
  // Does nothing when that exists already. Throws Failure, leaving the older checkpoints as they are.
  void save(int64_t step, const std::function<void(const std::filesystem::path&)>& write) const;
  // Collective: rank 0 removes what a killed run left half done and all but the newest `keep`. What cannot be removed
  // (another process reads it over NFS) is logged and tried again next time.
  void prune(int64_t keep) const;

  std::filesystem::path path(int64_t step) const;

 private:
  std::vector<int64_t> steps() const;  // ascending; on this rank
  void remove_leftovers() const;

  std::filesystem::path folder_;
  Communicator& host_;
};

}  // namespace spt
