#include "data/journal.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/error.h"
#include "base/read_file.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kJournalVersion = 1;
constexpr int64_t kAnswersASync = 32;
constexpr std::chrono::seconds kTimeASync{1};

json header_of(const JournalKind& kind, const json& source, const json& notes) {
  json header{{"format", kind.format}, {"version", kJournalVersion}};
  header.update(source);
  header.update(notes);
  return header;
}

}  // namespace

void refuse_journal_line(const fs::path& path, const JournalKind& kind, size_t line, const std::string& reason) {
  throw BadInput(fmt::format(
      "{}:{}: no journal of {}, or a damaged one ({}): remove that line, or the file, or choose another --out",
      path.string(), line, kind.command, reason));
}

JournalContent read_journal(const fs::path& path, const JournalKind& kind) {
  const std::string text = read_file(path);
  JournalContent content;
  size_t number = 0;
  try {
    for (size_t end; (end = text.find('\n', content.whole)) != std::string::npos; content.whole = end + 1) {
      ++number;
      json line = json::parse(text.begin() + static_cast<std::ptrdiff_t>(content.whole),
                              text.begin() + static_cast<std::ptrdiff_t>(end));
      if (!line.is_object()) throw BadInput("the line is no JSON object");
      if (number == 1) {
        if (line.at("format") != kind.format) throw BadInput("the first line is another format's");
        if (line.at("version") != kJournalVersion) throw BadInput("its version is not this program's");
        content.header = std::move(line);
      } else if (line.contains("written")) {
        for (const json& sha256 : line.at("written")) content.written.insert(sha256.get<std::string>());
      } else {
        content.answers.push_back({number, std::move(line)});
      }
    }
  } catch (const std::exception& error) {
    refuse_journal_line(path, kind, number, error.what());
  }
  content.rest = text.substr(content.whole);
  return content;
}

std::string differing_keys(const json& header, const json& source) {
  std::string differs;
  for (const auto& [key, value] : source.items())
    if (!header.contains(key) || header[key] != value) differs += (differs.empty() ? "" : ", ") + key;
  return differs;
}

Journal::Journal(fs::path path, JournalKind kind, const json& source, const json& notes, bool replace)
    : path_(std::move(path)), kind_(std::move(kind)), last_sync_(std::chrono::steady_clock::now()) {
  try {
    while (!open_locked()) close(descriptor_);
    open_content(source, notes, replace);
  } catch (...) {
    if (descriptor_ >= 0) close(descriptor_);
    throw;
  }
}

// Whether the file that is locked is still the one of that name: another process may have removed it in between.
bool Journal::open_locked() {
  descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("opening");
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) fail("locking");
    throw BadInput(fmt::format("{}: another process writes it: wait for it, or choose another --out", path_.string()));
  }
  struct stat locked = {}, named = {};
  return fstat(descriptor_, &locked) == 0 && stat(path_.c_str(), &named) == 0 && locked.st_ino == named.st_ino &&
         locked.st_dev == named.st_dev;
}

Journal::~Journal() {
  if (descriptor_ < 0) return;
  if (answers_ == 0) unlink(path_.c_str());
  fsync(descriptor_);  // after an error, too, what was paid for is safe
  close(descriptor_);
}

void Journal::open_content(const json& source, const json& notes, bool replace) {
  content_ = read_journal(path_, kind_);
  const json header = header_of(kind_, source, notes);
  // A first line without its end must be the beginning of ours: nobody's file is cut by mistake.
  if (!content_.header && !header.dump().starts_with(content_.rest))
    refuse_journal_line(path_, kind_, 1, "no first line");
  const std::string differs = content_.answers.empty() ? "" : differing_keys(*content_.header, source);
  if (!differs.empty() && !replace)
    throw BadInput(fmt::format("{}: holds {} answers of another {} (what differs: {}): {}", path_.string(),
                               content_.answers.size(), kind_.work, differs, kind_.way_out));
  if (!differs.empty()) {
    content_.answers.clear();
    content_.written.clear();
  }
  answers_ = static_cast<int64_t>(content_.answers.size());
  if (answers_ > 0) {
    if (!content_.rest.empty()) truncate(content_.whole);  // the process died while it wrote this line
    return;
  }
  truncate(0);
  write_line(header.dump());
  content_.header = header;
  sync();
  sync_folder(path_.has_parent_path() ? path_.parent_path() : fs::path("."));
}

void Journal::append(const json& answer) {
  write_line(answer.dump());
  ++answers_;
  if (++unsynced_ >= kAnswersASync || std::chrono::steady_clock::now() - last_sync_ >= kTimeASync) sync();
}

void Journal::append_written(const std::vector<std::string>& sha256s) {
  write_line(json{{"written", sha256s}}.dump());
  sync();
}

void Journal::sync() {
  while (fsync(descriptor_) != 0)
    if (errno != EINTR) fail("syncing");
  unsynced_ = 0;
  last_sync_ = std::chrono::steady_clock::now();
}

void Journal::remove() {
  if (unlink(path_.c_str()) != 0) fail("removing");
  close(std::exchange(descriptor_, -1));
}

void Journal::write_line(const std::string& line) {
  const std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = write(descriptor_, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) fail("writing");
    if (written > 0) done += static_cast<size_t>(written);
  }
}

void Journal::truncate(size_t size) {
  if (ftruncate(descriptor_, static_cast<off_t>(size)) != 0) fail("truncating");
}

void Journal::fail(const char* action) const {
  throw Failure(fmt::format("{}: {} failed: {}", path_.string(), action, std::strerror(errno)));
}

}  // namespace spt
