#include "trainer/eval/eval_journal.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "base/error.h"
#include "base/read_file.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kFormat = "spt-eval-journal";
constexpr int kVersion = 1;

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none))
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string differing_facts(const json& found, const json& now) {
  std::set<std::string> keys;
  for (const json* facts : {&found, &now})
    for (const auto& [key, value] : facts->items())
      if (!found.contains(key) || !now.contains(key) || found[key] != now[key])
        keys.insert(key.starts_with("task ") ? key + " (its file or data, eval.limit, eval.seed, eval.shots)" : key);
  return fmt::format("{}", fmt::join(keys, ", "));
}

std::vector<ordered_json> read_eval_journal(const fs::path& folder, const json& depends_on) {
  std::vector<ordered_json> samples;
  for (const fs::path& file : files_of(folder)) {
    const std::string text = read_file(file);
    int64_t line = 1;
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1, ++line) {
      const std::string written = text.substr(begin, end - begin);
      // Samples are flat: what is nested deeper than the stack may allow is dropped.
      const auto is_flat = [](int depth, ordered_json::parse_event_t, const ordered_json&) { return depth <= 32; };
      const ordered_json value = ordered_json::parse(written, is_flat, false);
      const bool is_header = line == 1;
      const auto is = [&](const char* key, bool (ordered_json::*type)() const noexcept) {
        return value.contains(key) && (value[key].*type)();
      };
      if (!value.is_object() ||
          (is_header ? !is("depends_on", &ordered_json::is_object) || !is("version", &ordered_json::is_number_integer)
                     : !is("task", &ordered_json::is_string) || !is("id", &ordered_json::is_string)))
        throw BadInput(fmt::format(
            "{}:{}: is no line of an evaluation's journal; remove the line to measure its sample again, or the file",
            file.string(), line));
      if (!is_header) {
        samples.push_back(value);
      } else if (value["version"] != kVersion) {
        throw BadInput(fmt::format("{}: is of version {}, this program reads {}; choose another run.dir, or remove {}",
                                   file.string(), value["version"].dump(), kVersion, folder.string()));
      } else if (const std::string differs = differing_facts(value["depends_on"], depends_on); !differs.empty()) {
        throw BadInput(
            fmt::format("{}: is of another evaluation (what differs: {}); choose another run.dir, or remove {}",
                        file.string(), differs, folder.string()));
      }
    }
  }
  return samples;
}

EvalJournal::EvalJournal(const fs::path& folder, int rank, const json& depends_on)
    : path_(folder / fmt::format("rank-{:05}.jsonl", rank)) {
  fs::create_directories(folder);
  uintmax_t whole = 0;
  if (std::error_code none; fs::exists(path_, none)) {
    const std::string text = read_file(path_);
    whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  }
  descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0 || ftruncate(descriptor_, static_cast<off_t>(whole)) != 0)
    throw Failure(fmt::format("{}: cannot be written: {}", path_.string(), std::strerror(errno)));
  if (whole == 0) write(ordered_json{{"format", kFormat}, {"version", kVersion}, {"depends_on", depends_on}}.dump());
}

EvalJournal::~EvalJournal() {
  close(descriptor_);
}

void EvalJournal::append(const ordered_json& sample) {
  write(sample.dump());
  const auto now = std::chrono::steady_clock::now();
  if (now - last_sync_ < std::chrono::seconds(1)) return;
  last_sync_ = now;
  sync();
}

void EvalJournal::write(const std::string& line) {
  const std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(descriptor_, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw Failure(fmt::format("{}: writing failed: {}", path_.string(), std::strerror(errno)));
    done += static_cast<size_t>(count);
  }
}

void EvalJournal::sync() {
  if (fsync(descriptor_) != 0)
    throw Failure(fmt::format("{}: syncing failed: {}", path_.string(), std::strerror(errno)));
}

JournalWatch::JournalWatch(fs::path folder) : folder_(std::move(folder)) {
  for (const fs::path& file : files_of(folder_)) look_at(file, false);
}

const JournalWatch::Progress& JournalWatch::look() {
  for (const fs::path& file : files_of(folder_)) look_at(file, true);
  return progress_;
}

void JournalWatch::look_at(const fs::path& path, bool count) {
  File& file = files_[path.filename().string()];
  std::ifstream stream(path, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(file.read));
  const std::string more{std::istreambuf_iterator<char>(stream), {}};
  file.read += more.size();
  file.rest += more;
  size_t begin = 0;
  for (size_t end; (end = file.rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
    if (!count) continue;
    const auto value = json::parse(file.rest.substr(begin, end - begin), nullptr, false);
    if (!value.is_object() || !value.contains("task")) continue;
    ++progress_.samples;
    if (!value.contains("score") || !value["score"].is_number()) continue;
    ++progress_.scored;
    progress_.score += value["score"].get<double>();
  }
  file.rest.erase(0, begin);
}

}  // namespace spt
