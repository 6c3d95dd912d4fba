// Code that a model wrote, run where it can do no harm: by the program spt-sandbox beside this one ($SPT_SANDBOX names
// another), which launch/sandbox/ describes.
#pragma once

#include <cstdint>
#include <string>

namespace spt {

// Of one program. Processor time, not time, decides for code that works: the score must not hang on what else runs.
struct SandboxLimits {
  int64_t memory_bytes = int64_t{1} << 30;  // address space, Python's own included
  int64_t cpu_seconds = 10;
  int64_t wall_seconds = 60;
  int64_t output_bytes = 64 << 10;  // printed, to either stream
  int64_t folder_bytes = 16 << 20;  // of /tmp, where it runs; also the largest file
  int64_t threads = 64;             // it cannot start processes at all
};

// Those below 10 are ExitStatus. What ran out of memory has failed: Python raises MemoryError.
enum class SandboxStatus : int { kPassed = 0, kFailed = 10, kTimeLimit = 11, kOutputLimit = 12 };

struct SandboxResult {
  SandboxStatus status = SandboxStatus::kFailed;
  std::string
      output;  // what it printed (bytes, perhaps no UTF-8), up to the limit; then a line of ours where it tells more
};

// Throws BadInput with the reason, and the kernel's setting behind it, when this machine cannot run code in the
// sandbox.
void require_sandbox();

// Runs the text of a Python program; kPassed: it ran to its last line and Python then ended with status 0. A program
// that ends itself before (sys.exit(0), os._exit(0)) has failed. This holds against mistakes and shortcuts, not against
// code made to deceive: it runs in the interpreter that runs its tests, so it can find their frames, or the marker that
// tells the end. Not sandboxed, it sees the user's files and may change them; limits, and no sockets or processes, hold
// all the same.
//
// The interpreter is `python3` of PATH, or $SPT_PYTHON; it is asked once a process where it lies. Hashes of strings are
// the same in every run, its packages are those of the interpreter, not of a virtual environment. Safe to call from
// several threads at once. Throws BadInput as require_sandbox does, or when there is no Python; Failure when the
// machine fails.
SandboxResult run_python(const std::string& program, const SandboxLimits& limits, bool sandboxed);

}  // namespace spt
