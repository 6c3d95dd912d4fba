// What code tries that wants out, or to stay, or to take the machine down. Programs end well where the attack succeeds.
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/sandbox/in_sandbox.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

class Attack : public InSandbox {};

// `call(NUMBER, …)`: a system call that Python has no name for; raises OSError.
std::string with_calls(const std::string& program) {
  return R"(
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*arguments):
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
)" + program;
}

// ---- Out to the network -----------------------------------------------------------------------------------

TEST_F(Attack, NobodyIsCalledOverTheNetwork) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 5), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int port = ntohs(address.sin_port);
  expect_failed(fmt::format("import socket\nsocket.create_connection(('127.0.0.1', {}), 5)", port));
  expect_failed("import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))");
  expect_failed(fmt::format("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{}/')", port));
  pollfd ready{listener, POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  close(listener);
}

TEST_F(Attack, NoSocketOfAnyFamily) {
  for (const char* family : {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"})
    expect_failed(fmt::format("import socket\nsocket.socket(socket.{}, socket.SOCK_DGRAM)", family));
  expect_failed("import socket\nsocket.socketpair(socket.AF_INET)");
}

// ---- Out to files -----------------------------------------------------------------------------------------

TEST_F(Attack, FilesOfTheUserAreNotSeen) {
  const TemporaryFolder folder;
  const std::string secret = folder.put("secret", "the secret").string();
  fs::permissions(folder.path(), fs::perms::all);
  const std::string home = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "/root";
  for (const std::string& path : {secret, std::string("/etc/passwd"), std::string("/etc/shadow"), home + "/.bashrc"}) {
    expect_failed(fmt::format("open('{}').read()", path));
    expect_failed(fmt::format("open('/tmp/../../..{}').read()", path));
    expect_failed(fmt::format("import os\nos.symlink('{}', 'link')\nopen('link').read()", path));
  }
  expect_failed(fmt::format("import os\nos.link('{}', 'link')", secret));
  expect_failed(fmt::format("import os\nos.listdir('{}')", folder.path().string()));
  expect_failed("import os\nos.listdir('/home')");
  expect_failed("import os\nassert len(os.listdir('/tmp')) > 0");
  expect_failed("import os\nos.mkdir('d')\nos.chroot('d')");
}

TEST_F(Attack, OtherProcessesAreNotSeen) {
  for (const std::string& name :
       {std::string("self"), std::string("1"), std::to_string(getpid()), std::to_string(getppid())})
    for (const char* file : {"environ", "root/etc/passwd", "mem", "cmdline", "fd/0"})
      expect_failed(fmt::format("open('/proc/{}/{}', 'rb').read(1)", name, file));
  expect_failed(fmt::format("import os\nos.kill({}, 0)", getpid()));
  setenv("SPT_TEST_SECRET", "hidden", 1);
  expect_failed("import os\nassert 'hidden' in os.environ.values() or 'PATH' in os.environ or 'HOME' in os.environ");
  unsetenv("SPT_TEST_SECRET");
}

TEST_F(Attack, WhatTheParentHasOpenIsClosed) {
  const TemporaryFolder folder;
  const int file =
      open(folder.put("secret", "the secret").c_str(), O_RDWR);  // not closed by execve, as MPI's and CUDA's are
  ASSERT_GE(file, 0);
  const int high = fcntl(file, F_DUPFD, 50);
  expect_failed(R"(
import os
def taken(fd):
    try:
        return os.pread(fd, 10, 0) == b"the secret"
    except OSError:
        return False
assert any(taken(fd) for fd in range(64))
)");
  close(high);
  close(file);
}

TEST_F(Attack, NothingIsWrittenOutside) {
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms::all);
  const fs::path target = folder.put("target", "before");
  fs::permissions(target, fs::perms::all);
  for (const std::string& place : {std::string(), std::string("/usr"), std::string("/usr/lib"), std::string("/etc"),
                                   std::string("/dev"), std::string("/lib"), std::string("/home"), std::string("/root"),
                                   std::string("/var/tmp"), std::string("/dev/shm"), folder.path().string()}) {
    const fs::path file = place + "/spt_attack_left_this";
    expect_failed(fmt::format("open('{}', 'w').write('x')", file.string()));
    expect_failed(fmt::format("import os\nos.mkdir('{}')", file.string()));
    std::error_code not_ours;
    EXPECT_FALSE(fs::exists(file, not_ours)) << file;
  }
  expect_failed(fmt::format("import os\nos.symlink('{0}', 'link')\nopen('link', 'a').write('x')", target.string()));
  expect_failed(fmt::format("import os\nos.unlink('{}')", target.string()));
  EXPECT_EQ(folder.get("target"), "before");
  expect_failed("import os, math\nos.chmod(os.__file__, 0o777)");
  expect_failed("import os\nopen(os.__file__, 'a')");
  expect_failed("import os\nos.chmod('/dev/null', 0o777)");
  expect_failed("import os\nos.unlink('/dev/null')");
  expect_failed("import os\nos.mknod('disk', 0o60600, os.makedev(8, 0))\nopen('disk')");
}

TEST_F(Attack, NothingOfItsFolderIsLeft) {
  const auto count = [] {
    size_t entries = 0;
    for (const char* place : {"/tmp", "/var/tmp", "/dev/shm"})
      if (std::error_code error; fs::exists(place, error))
        for (const auto& entry : fs::directory_iterator(place))
          entries += entry.path().filename() == "spt_attack_left_this";
    return entries;
  };
  EXPECT_EQ(run("open('/tmp/spt_attack_left_this', 'w').write('x')").status, SandboxStatus::kPassed);
  EXPECT_EQ(count(), 0U);
  expect_failed("open('/tmp/spt_attack_left_this').read()");
}

// ---- Out by the kernel ------------------------------------------------------------------------------------

TEST_F(Attack, TheKernelRefusesWhatWidensTheWay) {
  constexpr int kPtraceTraceme = 0, kNewUser = 0x10000000, kNewMounts = 0x20000;
  const std::vector<std::pair<const char*, std::string>> attempts = {
      {"unshare user", fmt::format("call({}, {})", SYS_unshare, kNewUser)},
      {"unshare mounts", fmt::format("call({}, {})", SYS_unshare, kNewMounts)},
      {"clone user", fmt::format("call({}, {}, 0, 0, 0, 0) or os._exit(1)", SYS_clone, kNewUser | SIGCHLD)},
      {"clone3", fmt::format("call({}, ctypes.byref(ctypes.create_string_buffer(88)), 88) or os._exit(1)", SYS_clone3)},
      {"mount", fmt::format("call({}, b'tmpfs', b'/tmp', b'tmpfs', 0, 0)", SYS_mount)},
      {"remount", fmt::format("call({}, 0, b'/', 0, {}, 0)", SYS_mount, 32 | 4096)},
      {"umount", fmt::format("call({}, b'/tmp', 2)", SYS_umount2)},
      {"pivot_root", fmt::format("call({}, b'.', b'.')", SYS_pivot_root)},
      {"ptrace", fmt::format("call({}, {}, 0, 0, 0)", SYS_ptrace, kPtraceTraceme)},
      {"process_vm_readv", fmt::format("call({}, os.getpid(), 0, 0, 0, 0, 0)", SYS_process_vm_readv)},
      {"setns", fmt::format("call({}, 0, 0)", SYS_setns)},
      {"bpf", fmt::format("call({}, 0, ctypes.create_string_buffer(72), 72)", SYS_bpf)},
      {"userfaultfd", fmt::format("call({}, 1)", SYS_userfaultfd)},
      {"io_uring", fmt::format("call({}, 8, ctypes.create_string_buffer(120))", SYS_io_uring_setup)},
      {"io_setup", fmt::format("call({}, 8, ctypes.byref(ctypes.c_ulong(0)))", SYS_io_setup)},
      {"keyctl", fmt::format("call({}, 0, -3, 1)", SYS_keyctl)},
      {"add_key", fmt::format("call({}, b'user', b'k', b'v', 1, -2)", SYS_add_key)},
      {"memfd", fmt::format("call({}, b'm', 0)", SYS_memfd_create)},
      {"shared memory", fmt::format("call({}, 0, 1 << 20, 0o1600)", SYS_shmget)},
      {"personality", fmt::format("call({}, 0x40000)", SYS_personality)},
      {"pidfd_open", "call(434, os.getpid(), 0)"},
      {"another pdeathsig", fmt::format("call({}, 1, 0, 0, 0, 0)", SYS_prctl)},
      {"setuid", "os.setuid(0)"},
      {"setgroups", "os.setgroups([0])"},
      {"hostname", "import socket; socket.sethostname('x')"},
      {"higher priority", "os.nice(-5)"},
  };
  for (const auto& [name, attempt] : attempts) {
    SCOPED_TRACE(name);
    expect_failed(with_calls(attempt));
  }
}

// Not one that the checks above would find missing by chance: every one that a process of the user has elsewhere.
TEST_F(Attack, NoCapabilitiesAreLeft) {
  const std::string has = R"(
import ctypes
header, data = (ctypes.c_uint * 2)(0x20080522, 0), (ctypes.c_uint * 6)()
assert ctypes.CDLL(None).capget(header, data) == 0
bounding = [n for n in range(41) if ctypes.CDLL(None).prctl(23, n, 0, 0, 0) == 1]
assert any(data) or bounding, "none"
)";
  expect_failed(has);
  expect_failed("import ctypes\nassert ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) == 0  # no-new-privileges");
}

// ---- Staying and taking everything ------------------------------------------------------------------------

TEST_F(Attack, NoFurtherProcesses) {
  expect_failed("import os\nwhile True: os.fork()");
  expect_failed("import subprocess\nsubprocess.run(['/usr/bin/env'])");
  expect_failed("import os\nos.posix_spawn('/usr/bin/env', ['env'], {})");
  expect_failed("import os\nassert os.system('true') == 0");
  expect_failed(
      "import multiprocessing as m\nif __name__ == '__main__': m.get_context('fork').Process(target=print).start()");
  expect_failed(with_calls(fmt::format("call({}, {}, 0, 0, 0, 0) or os._exit(0)\nos._exit(0)", SYS_clone, SIGCHLD)));
  // A daemon.
  expect_failed("import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True: pass");
}

TEST_F(Attack, FewThreads) {
  expect_failed(
      "import threading, time\nfor i in range(500): threading.Thread(target=time.sleep, args=(1000,), "
      "daemon=True).start()");
}

TEST_F(Attack, MemoryIsBounded) {
  expect_failed("x = []\nwhile True: x.append(bytearray(1 << 20))");
  expect_failed("x = bytearray(1 << 40)");
  expect_failed("import mmap\nx = mmap.mmap(-1, 1 << 29)");
  expect_failed("x = 'x'\nwhile True: x += x");
}

TEST_F(Attack, ItsFolderIsBounded) {
  expect_failed("open('a', 'wb').write(bytes(1 << 22))");
  expect_failed("for i in range(8): open(str(i), 'wb').write(bytes(1 << 19))");
  expect_failed("for i in range(3000): open(str(i), 'w')");
  expect_failed("import os\nfiles = [os.open('a', os.O_CREAT) for i in range(100)]");
}

TEST_F(Attack, EndlessLoopsEnd) {
  const std::string deaf = R"(
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True:
    try:
        while True: pass
    except BaseException:
        pass
)";
  SandboxLimits patient = limits();
  patient.wall_seconds = 1000;
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& program : {std::string("while True: pass"), deaf})
    EXPECT_EQ(run_python(program, patient, true).status, SandboxStatus::kTimeLimit);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(500));
}

TEST_F(Attack, WhoeverWaitsIsEnded) {
  SandboxLimits brief = limits();
  brief.wall_seconds = 1;
  for (const char* program :
       {"import time\ntime.sleep(1000)", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "import os\nos.close(1)\nos.close(2)\nimport time\ntime.sleep(1000)",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()"})
    EXPECT_EQ(run_python(program, brief, true).status, SandboxStatus::kTimeLimit) << program;
}

TEST_F(Attack, OutputIsBounded) {
  for (const char* program :
       {"for i in range(1000): print('x' * 1000000)", "import os\nwhile True: os.write(2, b'y' * 65536)"}) {
    const SandboxResult result = run(program);
    EXPECT_EQ(result.status, SandboxStatus::kOutputLimit);
    EXPECT_EQ(result.output.size(), 10'000U);
  }
}

TEST_F(Attack, SignalsReachNobodyElse) {
  expect_failed("import os, signal\nos.kill(-1, signal.SIGKILL)");
  expect_failed("import os, signal\nos.kill(0, signal.SIGKILL)");
  expect_failed(fmt::format("import os, signal\nos.kill({}, signal.SIGTERM)", getpid()));
  EXPECT_EQ(run("import os, signal\nfor n in (9, 15, 19): os.kill(os.getppid(), n)").status, SandboxStatus::kPassed);
}

// ---- Looking as if the tests had passed -------------------------------------------------------------------

TEST_F(Attack, WhoEndsBeforeTheTestsHasFailed) {
  const std::string test = "\nassert False, 'the test'\n";
  for (const char* program :
       {"import sys\nsys.exit(0)", "import os\nos._exit(0)", "raise SystemExit", "quit()",
        "import os\nos.execv('/usr/bin/env', ['env'])", "import os\nos.close(3)\nos._exit(0)",
        "import os\nos.write(3, b'x' * 32)\nos._exit(0)", "import os\nos.write(3, b'')\nos._exit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "import ctypes\nctypes.string_at(0)",
        "import sys\nsys.exit = print\nprint('passed')", "import builtins\nbuiltins.AssertionError = None",
        "import os\nos.read(4, 32)", "import sys\nsys.excepthook = lambda *a: __import__('os')._exit(0)",
        "import atexit, os\natexit.register(os._exit, 0)"}) {
    const SandboxResult result = run(program + test);
    EXPECT_EQ(result.status, SandboxStatus::kFailed) << program << result.output;
  }
  EXPECT_THAT(run("import os\nos._exit(0)").output, testing::HasSubstr("ended before its last line"));
  expect_failed("import atexit, os\natexit.register(os._exit, 3)");
}

}  // namespace
}  // namespace spt
