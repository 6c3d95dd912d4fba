// The one global: spdlog's default logger, on stderr, with the rank in its prefix. Use `spdlog::info(…)` anywhere.
#pragma once

#include <filesystem>
#include <string>

#include <spdlog/spdlog.h>

namespace spt {

// Rank 0 logs from level info, the others from level warning, so that a message common to all ranks appears once.
// A job of one rank has no prefix.
void setup_log(int rank, int size);

// Also appends everything logged on this rank to `path`. Throws Failure when it cannot be opened.
void log_to_file(const std::filesystem::path& path);

// A line for that file alone (what a progress bar shows on the terminal). Nothing without one.
void log_to_file_only(const std::string& text);

}  // namespace spt
