// What the system lets a process do: limits, and a folder that runs are to be written to. No check throws or leaves a
// file behind.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/finding.h"

namespace spt {

// For a job of `ranks`, of which `ranks_here` are on this host; with `gpus` NCCL joins them.
std::vector<Finding> check_limits(int ranks_here, int ranks, bool gpus);

// Room, speed and locks of a folder. Writes `megabytes` there and reads them back, or as many as five seconds let it.
std::vector<Finding> check_folder(const std::filesystem::path& folder, int64_t megabytes);

}  // namespace spt
