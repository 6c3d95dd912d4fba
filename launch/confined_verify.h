// Opening a corpus from anywhere: libhdf5 has known faults on hostile files, so a process of its own does it first,
// with limits on its time and memory.
#pragma once

#include <cstdint>
#include <filesystem>

namespace spt {

// The option of `spt inspect` that makes it that process.
inline constexpr const char* kConfinedOption = "--confined";

// Starts this program again to read the whole file and compare it with its checksums. Throws BadInput with what that
// process found, or, when it crashed or ran into a limit, that the file is damaged or hostile. `seconds` is the limit
// of its time, 0: 60 and one more a megabyte; that of its memory is 2 GB.
void verify_corpus_apart(const std::filesystem::path& path, int64_t seconds);

// What that process does: limits itself, verifies, prints a message for its parent; returns the exit status.
int verify_corpus_confined(const std::filesystem::path& path, int64_t seconds);

}  // namespace spt
