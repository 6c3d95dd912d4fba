#include "trainer/eval/sandbox.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/child_process.h"
#include "tests/sandbox/in_sandbox.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Sandbox : public InSandbox {};

TEST_F(Sandbox, TellsWhatPassedAndWhatWasPrinted) {
  const SandboxResult good = run("import sys\nprint('one')\nprint('two', file=sys.stderr)\nassert 1 + 1 == 2");
  EXPECT_EQ(good.status, SandboxStatus::kPassed);
  EXPECT_THAT(good.output, testing::AllOf(HasSubstr("one\n"), HasSubstr("two\n")));
  const SandboxResult bad = run("def f(x):\n    return x\nassert f(1) == 2, 'wrong'");
  EXPECT_EQ(bad.status, SandboxStatus::kFailed);
  EXPECT_THAT(bad.output, HasSubstr("AssertionError: wrong"));
  EXPECT_THAT(run("def f(:").output, HasSubstr("SyntaxError"));
  EXPECT_THAT(run("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)").output, HasSubstr("ended by signal"));
  EXPECT_THAT(run("x = bytearray(1 << 40)").output, HasSubstr("MemoryError"));
  EXPECT_EQ(run("").status, SandboxStatus::kPassed);
  EXPECT_EQ(run("# " + std::string(1 << 20, 'x')).status, SandboxStatus::kPassed);
}

TEST_F(Sandbox, IsAnOrdinaryPythonInside) {
  for (const char* program :
       {"assert __name__ == '__main__'\nimport sys\nassert sys.modules['__main__'].__dict__ is globals()",
        "try:\n    input()\n    assert False\nexcept EOFError:\n    pass",
        "assert 'os' not in globals() and 'run' not in globals()",
        "import hashlib, decimal, ctypes, random, re, json, collections, datetime, heapq, fractions, zlib",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "import asyncio\nasync def f(): return 3\nassert asyncio.run(f()) == 3",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\nassert A(3).x == 3",
        "import os, tempfile\nwith tempfile.TemporaryFile() as f: f.write(b'x')\nassert os.getcwd() == '/tmp'",
        "import random\nassert random.SystemRandom().random() < 1", "print('\\u00e9\\u4e2d')",
        "def deep(n): return n and deep(n - 1)\nassert deep(900) == 0"}) {
    const SandboxResult result = run(program);
    EXPECT_EQ(result.status, SandboxStatus::kPassed) << program << "\n" << result.output;
  }
}

TEST_F(Sandbox, HashesAreTheSameInEveryRun) {
  const std::string program = "print([hash(w) for w in 'abc'], {'one', 'two', 'three', 'four'})";
  EXPECT_EQ(run(program).output, run(program).output);
}

TEST_F(Sandbox, SeveralRunAtOnce) {
  std::vector<std::future<SandboxResult>> runs;
  for (int i = 0; i < 6; ++i)
    runs.push_back(std::async(std::launch::async, [i] {
      return run(fmt::format("open('file', 'x').write('{0}')\nprint({0})\nassert {0} % 2 == 0", i));
    }));
  for (int i = 0; i < 6; ++i) {
    const SandboxResult result = runs[static_cast<size_t>(i)].get();
    EXPECT_EQ(result.status, i % 2 == 0 ? SandboxStatus::kPassed : SandboxStatus::kFailed);
    EXPECT_THAT(result.output, HasSubstr(fmt::format("{}\n", i)));
  }
}

TEST_F(Sandbox, ShowsWhatTheInterpreterNeedsAndNothingBeside) {
  if (!fs::exists("/usr/bin/python3")) GTEST_SKIP() << "no /usr/bin/python3";
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms::all);
  fs::create_directories(folder / "lib/python3 x");
  folder.put("lib/library.so", "library");
  folder.put("lib/python3 x/module.py", "module");
  folder.put("secret", "secret");
  const std::string program = fmt::format(
      "import os\nos.chdir('{}')\nassert sorted(os.listdir('.')) == ['lib']\nassert open('lib/library.so').read() == "
      "'library'\n"
      "assert open('lib/python3 x/module.py').read() == 'module'\n"
      "try:\n    open('lib/new', 'w')\n    assert False\nexcept OSError:\n    pass",
      folder.path().string());
  const ChildResult result =
      run_child({std::getenv("SPT_SANDBOX"), "--python", fs::canonical("/usr/bin/python3").string(), "--view",
                 folder / "lib/python3 x", "--view", folder / "lib"},
                program, true, std::chrono::seconds(60), 10'000);
  EXPECT_EQ(result.status, 0) << result.output;
}

// ---- Nothing is left --------------------------------------------------------------------------------------

// The process's children, by their parents' ids in /proc.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    const size_t end = stat.rfind(')');
    if (end != std::string::npos && std::stoi(stat.substr(end + 4)) == parent) found.push_back(std::stoi(name));
  }
  return found;
}

// The last of `generations` of only children below `parent`, once it is there.
std::vector<pid_t> line_of(pid_t parent, size_t generations) {
  std::vector<pid_t> line;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (line.size() < generations && std::chrono::steady_clock::now() < end) {
    line.clear();
    for (pid_t last = parent; line.size() < generations; line.push_back(last)) {
      const std::vector<pid_t> next = children_of(last);
      if (next.empty()) break;
      last = next[0];
    }
    poll(nullptr, 0, 5);
  }
  return line;
}

// For processes that somebody else waits for.
class Watched {
 public:
  explicit Watched(const std::vector<pid_t>& ids) {
    for (const pid_t id : ids) files_.push_back(static_cast<int>(syscall(SYS_pidfd_open, id, 0)));
  }
  void expect_end() {
    for (const int file : files_) {
      pollfd ended{file, POLLIN, 0};
      EXPECT_EQ(poll(&ended, 1, 20'000), 1) << "a process is left";
      close(file);
    }
  }

 private:
  std::vector<int> files_;
};

SandboxResult run_for_long() {
  SandboxLimits limits;
  limits.wall_seconds = limits.cpu_seconds = 100;
  return run_python("import time\ntime.sleep(100)", limits, true);
}

TEST_F(Sandbox, EndsWithItsOuterProcess) {
  auto running = std::async(std::launch::async, run_for_long);
  const std::vector<pid_t> line = line_of(getpid(), 3);  // outer, init, code
  ASSERT_EQ(line.size(), 3U);
  Watched inside({line[1], line[2]});
  kill(line[0], SIGKILL);
  inside.expect_end();
  EXPECT_THROW(running.get(), Failure);
}

TEST_F(Sandbox, EndsWithItsFirstProcess) {
  auto running = std::async(std::launch::async, run_for_long);
  const std::vector<pid_t> line = line_of(getpid(), 3);
  ASSERT_EQ(line.size(), 3U);
  Watched inside({line[2]});
  kill(line[1], SIGKILL);
  inside.expect_end();
  EXPECT_THROW(running.get(), BadInput);
}

TEST_F(Sandbox, DISABLED_RunsForLong) {
  run_for_long();
}

TEST_F(Sandbox, EndsWithTheEvaluator) {
  std::string program = fs::read_symlink("/proc/self/exe"), disabled = "--gtest_also_run_disabled_tests",
              filter = "--gtest_filter=Sandbox.DISABLED_RunsForLong";
  char* const arguments[] = {program.data(), disabled.data(), filter.data(), nullptr};
  pid_t evaluator = 0;
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ASSERT_EQ(posix_spawn(&evaluator, program.c_str(), &quiet, nullptr, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&quiet);
  // The first sandbox only tries the interpreter; the one that stays is the one whose code is still there after it.
  std::vector<pid_t> line;
  do line = line_of(evaluator, 3);
  while (line.size() == 3 && poll(nullptr, 0, 1000) == 0 && line_of(evaluator, 3) != line);
  ASSERT_EQ(line.size(), 3U);
  Watched all(line);
  kill(evaluator, SIGKILL);
  all.expect_end();
  waitpid(evaluator, nullptr, 0);
}

// ---- Where there is none ----------------------------------------------------------------------------------

TEST_F(Sandbox, AKernelThatForbidsItIsNamed) {
  const std::string program = std::getenv("SPT_SANDBOX");
  const ChildResult result =
      run_child({"unshare", "--user", "--map-root-user", "sh", "-c",
                 "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" --python /usr/bin/python3", program},
                "", true, std::chrono::seconds(60), 10'000);
  if (result.output.rfind("unshare", 0) == 0 || result.output.rfind("sh:", 0) == 0) GTEST_SKIP() << result.output;
  EXPECT_EQ(WEXITSTATUS(result.status), 1);
  EXPECT_THAT(
      result.output,
      HasSubstr("clone with new namespaces: No space left on device; user.max_user_namespaces=0 forbids it (as root: "
                "sysctl -w user.max_user_namespaces="));
}

TEST_F(Sandbox, AMissingProgramIsNamed) {
  const std::string program = std::getenv("SPT_SANDBOX");
  setenv("SPT_SANDBOX", "/nowhere/spt-sandbox", 1);
  try {
    run("");
    ADD_FAILURE();
  } catch (const BadInput& error) {
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/spt-sandbox: no such file"));
  }
  setenv("SPT_SANDBOX", program.c_str(), 1);
}

TEST(SandboxDeathTest, AMissingPythonIsNamed) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  setenv("SPT_SANDBOX", SPT_BINARY_DIR "/spt-sandbox", 0);
  const auto tell = [](const char* python) {
    setenv("SPT_PYTHON", python, 1);
    try {
      run_python("", {}, true);
    } catch (const BadInput& error) {
      fmt::print(stderr, "{}\n", error.what());
    }
    std::exit(1);
  };
  EXPECT_EXIT(tell("/nowhere/python3"), testing::ExitedWithCode(1), "/nowhere/python3 .SPT_PYTHON=FILE names another");
  EXPECT_EXIT(tell("/bin/true"), testing::ExitedWithCode(1),
              "/bin/true .SPT_PYTHON=FILE names another Python 3. does not work");
}

// ---- Without it -------------------------------------------------------------------------------------------

class Unsandboxed : public InSandbox {
 protected:
  void SetUp() override { setenv("SPT_SANDBOX", SPT_BINARY_DIR "/spt-sandbox", 0); }
  static SandboxResult run(const std::string& program) { return run_python(program, limits(), false); }
};

TEST_F(Unsandboxed, LimitsAndTheFilterHoldAllTheSame) {
  EXPECT_EQ(run("assert 1 + 1 == 2").status, SandboxStatus::kPassed);
  EXPECT_EQ(run("assert False").status, SandboxStatus::kFailed);
  EXPECT_EQ(run("import os\nos._exit(0)").status, SandboxStatus::kFailed);
  EXPECT_EQ(run("import os\nos.fork()").status, SandboxStatus::kFailed);
  EXPECT_EQ(run("import socket\nsocket.socket()").status, SandboxStatus::kFailed);
  EXPECT_EQ(run("x = bytearray(1 << 40)").status, SandboxStatus::kFailed);
  EXPECT_EQ(run("while True: pass").status, SandboxStatus::kTimeLimit);
  EXPECT_EQ(run("while True: print('x' * 1000)").status, SandboxStatus::kOutputLimit);
}

TEST_F(Unsandboxed, ItsFolderGoesWithIt) {
  const SandboxResult result = run("import os\nopen('file', 'w').write('x')\nprint(os.getcwd())");
  EXPECT_EQ(result.status, SandboxStatus::kPassed);
  ASSERT_THAT(result.output, HasSubstr("spt-code-"));
  EXPECT_FALSE(fs::exists(result.output.substr(0, result.output.find('\n'))));
}

}  // namespace
}  // namespace spt
