#include "trainer/eval/sandbox.h"

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <sys/wait.h>

#include "base/child_process.h"
#include "base/error.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostOfOurs = 1000;       // bytes of messages, besides the output
constexpr std::chrono::seconds kMore(60);  // to set up and clear away, on a busy machine

// Prints the interpreter and what it needs, by real paths: a virtual environment, pyenv's shims and modules stand
// before it. The imports load what its libraries hang on.
constexpr const char* kWhere = R"(
import os, sys, sysconfig
for name in ("ctypes", "hashlib", "zlib", "lzma", "ssl"):
    try:
        __import__(name)
    except ImportError:
        pass
print("python", os.path.realpath(sys.executable))
folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
folders += [os.path.join(sys.base_prefix, name) for name in ("lib", "lib64")]
for folder in folders:
    print("view", os.path.realpath(folder))
with open("/proc/self/maps") as maps:
    files = {line.split(None, 5)[5].strip() for line in maps if "/" in line}
for folder in sorted({os.path.dirname(file) for file in files if ".so" in os.path.basename(file)}):
    print("libraries", folder)
)";

struct Interpreter {
  std::string executable;
  std::vector<std::string> view;
  std::string library_path;
};

Interpreter find_interpreter() {
  const char* named = std::getenv("SPT_PYTHON");
  const std::string python = named != nullptr ? named : "python3";
  const std::string knob = fmt::format("{} (SPT_PYTHON=FILE names another Python 3)", python);
  ChildResult answer;
  try {
    answer = run_child({python, "-I", "-c", kWhere}, "", false, kMore, 1 << 20);
  } catch (const Failure& error) {
    throw BadInput(fmt::format("code cannot be run: {}: {}", knob, error.what()));
  }
  Interpreter found;
  std::istringstream lines(answer.output);
  for (std::string kind, path; lines >> kind && std::getline(lines >> std::ws, path);) {
    const bool everywhere = path == "/" || path.rfind("/usr/", 0) == 0 || path.rfind("/lib", 0) == 0;
    if (kind == "python") found.executable = path;
    if (kind == "python" || everywhere || !fs::exists(path)) continue;
    found.view.push_back(path);
    if (kind == "libraries") found.library_path += (found.library_path.empty() ? "" : ":") + path;
  }
  if (!answer.in_time || answer.status != 0 || found.executable.empty())
    throw BadInput(fmt::format("code cannot be run: {} does not work", knob));
  return found;
}

std::string sandbox_program() {
  const char* named = std::getenv("SPT_SANDBOX");
  const fs::path path =
      named != nullptr ? fs::path(named) : fs::read_symlink("/proc/self/exe").parent_path() / "spt-sandbox";
  if (!fs::exists(path))
    throw BadInput(fmt::format(
        "{}: no such file: the program that runs code stands beside spt, or where SPT_SANDBOX says", path.string()));
  return path.string();
}

SandboxResult run_with(const Interpreter& python, const std::string& program, const SandboxLimits& limits,
                       bool sandboxed) {
  std::vector<std::string> command = {sandbox_program(), "--python", python.executable};
  for (const std::string& path : python.view) command.insert(command.end(), {"--view", path});
  if (!python.library_path.empty()) command.insert(command.end(), {"--library-path", python.library_path});
  if (!sandboxed) command.emplace_back("--no-namespaces");
  const std::pair<const char*, int64_t> values[] = {
      {"--memory-bytes", limits.memory_bytes}, {"--cpu-seconds", limits.cpu_seconds},
      {"--wall-seconds", limits.wall_seconds}, {"--output-bytes", limits.output_bytes},
      {"--folder-bytes", limits.folder_bytes}, {"--threads", limits.threads}};
  for (const auto& [option, value] : values) command.insert(command.end(), {option, std::to_string(value)});

  const auto most = std::chrono::seconds(limits.wall_seconds) + kMore;
  ChildResult ended = run_child(command, program, true, most, static_cast<size_t>(limits.output_bytes) + kMostOfOurs);
  if (!ended.in_time) throw Failure(fmt::format("spt-sandbox did not end within {} s", most.count()));
  const int status = WIFEXITED(ended.status) ? WEXITSTATUS(ended.status) : static_cast<int>(ExitStatus::kFailure);
  switch (status) {
    case static_cast<int>(SandboxStatus::kPassed):
    case static_cast<int>(SandboxStatus::kFailed):
    case static_cast<int>(SandboxStatus::kTimeLimit):
    case static_cast<int>(SandboxStatus::kOutputLimit):
      return {static_cast<SandboxStatus>(status), std::move(ended.output)};
    case static_cast<int>(ExitStatus::kBadInput):
      throw BadInput(fmt::format(
          "code cannot be run in a sandbox here: {}; or eval.allow_unsandboxed=true, which lets it read and "
          "change your files",
          ended.output));
    default:
      throw Failure(fmt::format("spt-sandbox: {}", ended.output.empty() ? "was killed" : ended.output));
  }
}

// Once a process: a Python that does not start would make every program a failed one.
const Interpreter& tried_interpreter(bool sandboxed) {
  const auto find_and_try = [](bool in_sandbox) {
    Interpreter python = find_interpreter();
    const SandboxResult result = run_with(python, "", {}, in_sandbox);
    if (result.status != SandboxStatus::kPassed)
      throw BadInput(
          fmt::format("code cannot be run: {} does not start {}: {} (SPT_PYTHON=FILE names another Python 3)",
                      python.executable, in_sandbox ? "in the sandbox" : "under its limits", result.output));
    return python;
  };
  if (sandboxed) {
    static const Interpreter kInside = find_and_try(true);
    return kInside;
  }
  static const Interpreter kOutside = find_and_try(false);
  return kOutside;
}

}  // namespace

void require_sandbox() {
  tried_interpreter(true);
}

SandboxResult run_python(const std::string& program, const SandboxLimits& limits, bool sandboxed) {
  return run_with(tried_interpreter(sandboxed), program, limits, sandboxed);
}

}  // namespace spt
