#include "data/annotation_journal.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/error.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormat = "spt-annotation-journal";
constexpr int64_t kVersion = 1;

json header_of(const AnnotationSource& source) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"input_sha256", source.input_sha256},
          {"annotator_sha256", source.annotator_sha256},
          {"model", source.model},
          {"settings", source.settings}};
}

JournalAnswer answer_of(const json& line) {
  JournalAnswer answer;
  answer.line = line.at("line");
  answer.id = line.at("id");
  answer.attempt = line.at("attempt");
  answer.text = line.at("text");
  if (!line.at("fault").is_null()) answer.fault = line.at("fault").get<std::string>();
  answer.usage = {line.at("prompt_tokens"), line.at("completion_tokens")};
  return answer;
}

}  // namespace

AnnotationJournal::AnnotationJournal(fs::path path, const AnnotationSource& source, bool replace)
    : path_(std::move(path)), descriptor_(open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) fail("opening");
  try {
    if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) fail("locking");
      throw BadInput(
          fmt::format("{}: another process writes it: wait for it, or choose another --out", path_.string()));
    }
    read(source, replace);
    if (answers_ == 0) {
      truncate(0);
      write_line(header_of(source).dump());
      sync();
      sync_folder(path_.has_parent_path() ? path_.parent_path() : fs::path("."));
    }
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

AnnotationJournal::~AnnotationJournal() {
  if (descriptor_ < 0) return;
  if (answers_ == 0) unlink(path_.c_str());
  fsync(descriptor_);  // after an error, too, what was paid for is safe
  close(descriptor_);
}

void AnnotationJournal::read(const AnnotationSource& source, bool replace) {
  std::ifstream file(path_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) fail("reading");
  const json expected = header_of(source);
  json header;
  int64_t number = 0;
  size_t whole = 0;  // bytes up to the last line end
  try {
    // A first line without its end must be the beginning of ours: nobody's file is cut by mistake.
    if (text.find('\n') == std::string::npos && !expected.dump().starts_with(text)) throw BadInput("no first line");
    for (size_t end; (end = text.find('\n', whole)) != std::string::npos; whole = end + 1) {
      const json line = json::parse(text.begin() + static_cast<std::ptrdiff_t>(whole),
                                    text.begin() + static_cast<std::ptrdiff_t>(end));
      if (++number == 1) {
        if (line.at("format") != kFormat) throw BadInput("the first line is another format's");
        header = line;
      } else if (line.contains("written")) {
        for (const json& sha256 : line.at("written")) written_.insert(sha256.get<std::string>());
      } else {
        found_.push_back(answer_of(line));
      }
    }
  } catch (const std::exception& error) {
    throw BadInput(
        fmt::format("{}:{}: no journal of spt annotate, or a damaged one ({}): remove it, or choose another "
                    "--out",
                    path_.string(), number, error.what()));
  }
  answers_ = static_cast<int64_t>(found_.size());
  if (answers_ > 0 && header != expected) {
    if (!replace) {
      std::string differs;
      for (const auto& [key, value] : expected.items())
        if (!header.contains(key) || header[key] != value) differs += (differs.empty() ? "" : ", ") + key;
      throw BadInput(
          fmt::format("{}: holds {} answers of another annotation (what differs: {}): choose another --out to keep "
                      "them, or --force "
                      "to begin anew",
                      path_.string(), answers_, differs));
    }
    answers_ = 0;
    found_.clear();
    written_.clear();
  }
  if (whole < text.size()) truncate(static_cast<int64_t>(whole));  // the process died while it wrote this line
}

void AnnotationJournal::append(const JournalAnswer& answer) {
  write_line(json{{"line", answer.line},
                  {"id", answer.id},
                  {"attempt", answer.attempt},
                  {"text", answer.text},
                  {"fault", answer.fault ? json(*answer.fault) : json()},
                  {"prompt_tokens", answer.usage.prompt},
                  {"completion_tokens", answer.usage.completion}}
                 .dump());
  ++answers_;
}

void AnnotationJournal::append_written(const std::vector<std::string>& sha256s) {
  write_line(json{{"written", sha256s}}.dump());
  sync();
}

void AnnotationJournal::sync() {
  while (fsync(descriptor_) != 0)
    if (errno != EINTR) fail("syncing");
}

void AnnotationJournal::remove() {
  if (unlink(path_.c_str()) != 0) fail("removing");
  close(std::exchange(descriptor_, -1));
}

void AnnotationJournal::write_line(const std::string& line) {
  const std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = write(descriptor_, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) fail("writing");
    if (written > 0) done += static_cast<size_t>(written);
  }
}

void AnnotationJournal::truncate(int64_t size) {
  if (ftruncate(descriptor_, size) != 0) fail("truncating");
}

void AnnotationJournal::fail(const char* action) const {
  throw Failure(fmt::format("{}: {} failed: {}", path_.string(), action, std::strerror(errno)));
}

}  // namespace spt
