#include "launch/sandbox/new_root.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOld = "/old";  // where the machine's root is until it is left

void check(int result, const std::string& step) {
  if (result != 0) throw Failure(fmt::format("{}: {}", step, std::strerror(errno)));
}

void mount_tmpfs(const std::string& path, const std::string& options) {
  check(mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()), "mount a tmpfs on " + path);
}

// Shows `path` of the machine at the same place.
void show(const std::string& path) {
  const std::string source = kOld + path;
  fs::create_directories(fs::path(path).parent_path());
  if (fs::is_directory(source))
    fs::create_directory(path);
  else
    std::ofstream(path).flush();
  check(mount(source.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr), "bind mount of " + path);
}

// /usr, and the folders of the loader and the libraries: links into /usr, or folders of their own.
void show_system() {
  show("/usr");
  for (const char* name : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    const fs::path source = std::string(kOld) + name;
    if (fs::is_symlink(source))
      fs::copy_symlink(source, name);
    else if (fs::is_directory(source))
      show(name);
  }
  if (fs::exists(std::string(kOld) + "/etc/ld.so.cache")) show("/etc/ld.so.cache");
}

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescaped(const std::string& text) {
  std::string path;
  for (size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\\' && i + 3 < text.size()) {
      path += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      path += text[i];
    }
  return path;
}

// Every mount but those of the old root: a bind mount brings the mounts below it along.
std::vector<std::string> mounts() {
  std::vector<std::string> paths;
  std::ifstream table(std::string(kOld) + "/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;
    const std::string path = unescaped(field);
    if (path != kOld && path.rfind(std::string(kOld) + "/", 0) != 0) paths.push_back(path);
  }
  if (paths.empty()) throw Failure("/proc/self/mountinfo cannot be read");
  return paths;
}

// A user namespace may not take away the restrictions that a mount has. On a read-only mount devices can still be
// written.
void protect(const std::string& path) {
  struct statvfs now {};
  check(statvfs(path.c_str(), &now), path);
  unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID;
  if (path.rfind("/dev/", 0) != 0 || (now.f_flag & ST_NODEV) != 0) flags |= MS_NODEV;
  if ((now.f_flag & ST_NOEXEC) != 0) flags |= MS_NOEXEC;
  check(mount(nullptr, path.c_str(), nullptr, flags, nullptr), "making " + path + " read-only");
}

}  // namespace

void enter_new_root(std::vector<std::string> view, int64_t folder_bytes, unsigned owner) {
  umask(022);
  check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "making the mounts private");
  mount_tmpfs("/tmp", "mode=755,size=1m");
  const std::string old = std::string("/tmp") + kOld;
  check(mkdir(old.c_str(), 0700), "mkdir " + old);
  check(static_cast<int>(syscall(SYS_pivot_root, "/tmp", old.c_str())), "pivot_root");
  check(chdir("/"), "chdir");

  // 1,024 files: each takes memory that folder_bytes does not count.
  fs::create_directory("/tmp");
  mount_tmpfs("/tmp", fmt::format("mode=700,uid={},gid={},size={},nr_inodes=1024", owner, owner, folder_bytes));
  show_system();
  for (const char* device : {"/dev/null", "/dev/zero", "/dev/urandom"}) show(device);
  // A folder before what lies in it: that is then there already.
  std::sort(view.begin(), view.end());
  for (const std::string& path : view)
    if (!fs::exists(path)) show(path);

  const std::vector<std::string> own = mounts();
  check(umount2(kOld, MNT_DETACH), "leaving the machine's root");
  fs::remove(kOld);
  for (const std::string& path : own)
    if (path != "/tmp") protect(path);
  check(chdir("/tmp"), "chdir /tmp");
}

}  // namespace spt
