// Tests that run code in the sandbox skip, with the reason, where the kernel has none.
#pragma once

#include <cerrno>
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <sys/wait.h>

#include "base/error.h"
#include "trainer/eval/sandbox.h"

namespace spt {

class InSandbox : public testing::Test {
 protected:
  void SetUp() override {
    setenv("SPT_SANDBOX", SPT_BINARY_DIR "/spt-sandbox", 0);
    try {
      require_sandbox();
    } catch (const BadInput& error) {
      if (std::string(error.what()).find("in a sandbox here") != std::string::npos) GTEST_SKIP() << error.what();
      FAIL() << error.what();
    }
  }
  void TearDown() override {
    EXPECT_TRUE(waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD) << "a process is left";
  }

  // Small ones, so that bombs do not last.
  static SandboxLimits limits() {
    SandboxLimits small;
    small.memory_bytes = 256 << 20;
    small.cpu_seconds = 1;
    small.wall_seconds = 20;
    small.output_bytes = 10'000;
    small.folder_bytes = 1 << 20;
    small.threads = 16;
    return small;
  }
  static SandboxResult run(const std::string& program) { return run_python(program, limits(), true); }

  // What an attack leads to: it must not reach its last line, and not for a mistake of its own.
  static void expect_failed(const std::string& program) {
    const SandboxResult result = run(program);
    EXPECT_EQ(result.status, SandboxStatus::kFailed) << program << "\n" << result.output;
    EXPECT_THAT(result.output,
                testing::Not(testing::ContainsRegex("(Name|Syntax|Type|Attribute|Import|ModuleNotFound)Error")))
        << program;
  }
};

}  // namespace spt
