// A temporary folder that all ranks of the job see: rank 0's.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "dist/text.h"
#include "tests/ranks.h"
#include "tests/temporary_folder.h"

namespace spt {

class SharedFolder {
 public:
  SharedFolder() {
    if (job().rank() == 0) own_.emplace();
    path_ = broadcast_text(job().host_world(), own_ ? own_->path().string() : "");
  }
  // Rank 0 removes the folder when nobody needs it any more.
  ~SharedFolder() { job().host_world().barrier(); }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::optional<TemporaryFolder> own_;
  std::filesystem::path path_;
};

}  // namespace spt
