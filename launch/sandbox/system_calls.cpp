#include "launch/sandbox/system_calls.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/error.h"

namespace spt {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kMachine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kMachine = AUDIT_ARCH_AARCH64;
#else
#error "the sandbox knows the system calls of x86-64 and aarch64 only: leave the target spt-sandbox out"
#endif

// From here on every system call has one number on all machines (pidfd_*, io_uring_*, clone3, the mount calls by
// descriptor, …); those of x86-64's x32 lie above.
constexpr uint32_t kFirstOfLinux5 = 424;

constexpr auto kDenied = std::to_array<uint32_t>({
    // Other machines and other programs. socketpair, which event loops wake themselves with, stays.
    __NR_socket,
    __NR_connect,
    __NR_bind,
    __NR_listen,
    __NR_accept,
    __NR_accept4,
    // Other processes.
    __NR_ptrace,
    __NR_process_vm_readv,
    __NR_process_vm_writev,
    __NR_kcmp,
    // Another view of files, other namespaces.
    __NR_mount,
    __NR_umount2,
    __NR_pivot_root,
    __NR_chroot,
    __NR_unshare,
    __NR_setns,
    __NR_name_to_handle_at,
    __NR_open_by_handle_at,
    __NR_fanotify_init,
    __NR_quotactl,
    // Memory that outlives or is not counted to the process.
    __NR_memfd_create,
    __NR_shmget,
    __NR_shmat,
    __NR_semget,
    __NR_msgget,
    __NR_mq_open,
    __NR_add_key,
    __NR_request_key,
    __NR_keyctl,
    // The kernel itself.
    __NR_bpf,
    __NR_perf_event_open,
    __NR_userfaultfd,
    __NR_io_setup,
    __NR_init_module,
    __NR_finit_module,
    __NR_delete_module,
    __NR_kexec_load,
    __NR_reboot,
    __NR_swapon,
    __NR_swapoff,
    __NR_acct,
    __NR_syslog,
    __NR_personality,
    __NR_settimeofday,
    __NR_clock_settime,
    __NR_adjtimex,
    __NR_clock_adjtime,
    __NR_sethostname,
    __NR_setdomainname,
    __NR_vhangup,
#ifdef __NR_kexec_file_load
    __NR_kexec_file_load,
#endif
#ifdef __x86_64__
    __NR_fork,
    __NR_vfork,
    __NR_iopl,
    __NR_ioperm,
    __NR_modify_ldt,
    __NR_uselib,
    __NR_ustat,
    __NR_sysfs,
#endif
});

constexpr uint32_t kNumber = offsetof(seccomp_data, nr);
constexpr uint32_t kArchitecture = offsetof(seccomp_data, arch);
constexpr uint32_t kFirstArgument = offsetof(seccomp_data, args);  // its low half: both machines are little endian

sock_filter load(uint32_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
}
sock_filter give(uint32_t verdict) {
  return BPF_STMT(BPF_RET | BPF_K, verdict);
}
constexpr uint32_t refusal(int error) {
  return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error);
}

// Of the calls with this number, those whose first argument passes the test.
void refuse_if(std::vector<sock_filter>& program, uint32_t number, uint16_t test, uint32_t operand,
               bool passes = true) {
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4));
  program.push_back(load(kFirstArgument));
  program.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | test | BPF_K), operand, 0, 1));
  program.push_back(give(passes ? refusal(EPERM) : SECCOMP_RET_ALLOW));
  program.push_back(give(passes ? SECCOMP_RET_ALLOW : refusal(EPERM)));
}

std::vector<sock_filter> filter() {
  std::vector<sock_filter> program = {
      load(kArchitecture), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kMachine, 1, 0),       give(SECCOMP_RET_KILL_PROCESS),
      load(kNumber),       BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kFirstOfLinux5, 0, 1), give(refusal(ENOSYS)),
  };
  // A new task must be a thread of this process; without capabilities it stays in its namespaces.
  refuse_if(program, __NR_clone, BPF_JSET, CLONE_THREAD, false);
  refuse_if(program, __NR_socketpair, BPF_JEQ, AF_UNIX, false);
  refuse_if(program, __NR_prctl, BPF_JEQ, PR_SET_PDEATHSIG);  // it dies with what started it
  for (const uint32_t number : kDenied) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    program.push_back(give(refusal(EPERM)));
  }
  program.push_back(give(SECCOMP_RET_ALLOW));
  return program;
}

}  // namespace

void deny_system_calls() {
  std::vector<sock_filter> instructions = filter();
  const sock_fprog program{static_cast<unsigned short>(instructions.size()), instructions.data()};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    throw Failure(fmt::format("seccomp: {}", std::strerror(errno)));
}

}  // namespace spt
