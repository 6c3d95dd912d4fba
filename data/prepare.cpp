#include "data/prepare.h"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "base/durable.h"
#include "base/error.h"
#include "base/fields.h"
#include "base/sha256.h"
#include "data/corpus.h"

namespace spt {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPlacesShown = 5;

void check_config(const PrepareConfig& config) {
  if (config.inputs.empty()) throw BadInput("no file of records was given");
  if (config.max_tokens < 2 || config.max_tokens > kMaxExampleTokens)
    throw BadInput(fmt::format("--max-tokens is {}, expected 2…{}", config.max_tokens, kMaxExampleTokens));
  std::error_code error;
  const fs::path folder = config.out.has_parent_path() ? config.out.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, error))
    throw BadInput(fmt::format("{}: the folder {} does not exist: create it", config.out.string(), folder.string()));
  if (fs::is_directory(config.out, error))
    throw BadInput(fmt::format("{}: is a folder, --out must name a file", config.out.string()));
  for (const fs::path& input : config.inputs)
    if (fs::equivalent(input, config.out, error))
      throw BadInput(fmt::format("{}: is input and output at once: choose another --out", config.out.string()));
  if (fs::exists(config.out, error) && !config.force)
    throw BadInput(
        fmt::format("{}: exists already: choose another --out, or replace it with --force", config.out.string()));
  require_writable(folder, "--out");
}

// Makes the corpus record by record.
class Preparation {
 public:
  Preparation(const PrepareConfig& config, const ChatTemplate& chat_template, const Tokenizer& tokenizer)
      : config_(config), template_(chat_template), tokenizer_(tokenizer) {}

  void read(const fs::path& input) {
    RecordReader reader(input, {config_.format, RecordUse::kTraining, template_.role_prefix()});
    reader.hash_into(source_hash_);
    while (auto record = reader.next()) add(input, *record);
    statistics_.dropped_trailing_turns += reader.dropped_trailing_turns();
  }

  PrepareStatistics finish() {
    if (config_.arm == Arm::kRole && config_.missing_role == MissingRole::kError && statistics_.without_role > 0)
      throw BadInput(fmt::format(
          "{} of {} records have no role, the first: {}; write them with spt annotate, or leave these records out with "
          "--missing-role drop (in both arms)",
          statistics_.without_role, statistics_.records, fmt::join(places_without_role_, ", ")));
    if (corpus_.size() == 0)
      throw BadInput(
          fmt::format("{}: no example is left of {} records: {} have no role, {} no answer within --max-tokens {}",
                      config_.inputs[0].string(), statistics_.records, statistics_.dropped_without_role,
                      statistics_.dropped_too_long, config_.max_tokens));
    statistics_.examples = corpus_.size();
    statistics_.tokens = static_cast<int64_t>(corpus_.tokens.size());
    statistics_.trained_tokens = std::count(corpus_.trained.begin(), corpus_.trained.end(), 1);
    CorpusInfo& info = corpus_.info;
    info.arm = config_.arm == Arm::kRole ? "role" : "plain";
    info.template_text = template_.text();
    info.system = template_.system();
    info.role_prefix = template_.role_prefix();
    info.tokenizer_sha256 = tokenizer_.sha256();
    info.source_sha256 = source_hash_.hex();
    info.max_tokens = config_.max_tokens;
    info.truncated_examples = statistics_.truncated;
    info.dropped_examples = statistics_.dropped_too_long + statistics_.dropped_without_role;
    write_corpus(config_.out, corpus_);
    return statistics_;
  }

 private:
  void add(const fs::path& input, Record& record) {
    ++statistics_.records;
    const std::string place = fmt::format("{}:{}", input.string(), record.line);
    if (config_.inputs.size() > 1 && !record.has_own_id)
      record.id = fmt::format("{}:{}", input.filename().string(), record.line);
    if (const auto [found, is_new] = places_.emplace(record.id, place); !is_new)
      throw BadInput(fmt::format("{}: the id \"{}\" stands at {} already: every record needs its own", place, record.id,
                                 found->second));
    if (!record.role) {
      ++statistics_.without_role;
      if (places_without_role_.size() < kPlacesShown) places_without_role_.push_back(place);
      if (config_.missing_role == MissingRole::kDrop) {
        ++statistics_.dropped_without_role;
        return;
      }
      if (config_.arm == Arm::kRole) return;  // refused at the end, when all are counted
    }
    EncodedExample example = template_.encode(record, config_.arm, tokenizer_);
    if (config_.arm == Arm::kRole && is_long(*record.role)) ++statistics_.long_roles;
    const size_t limit = static_cast<size_t>(config_.max_tokens);
    if (example.ids.size() > limit) {
      example.ids.resize(limit);
      example.trained.resize(limit);
      if (std::find(example.trained.begin(), example.trained.end(), 1) == example.trained.end()) {
        ++statistics_.dropped_too_long;
        return;
      }
      ++statistics_.truncated;
    }
    statistics_.longest = std::max(statistics_.longest, static_cast<int64_t>(example.ids.size()));
    corpus_.tokens.insert(corpus_.tokens.end(), example.ids.begin(), example.ids.end());
    corpus_.trained.insert(corpus_.trained.end(), example.trained.begin(), example.trained.end());
    corpus_.offsets.push_back(static_cast<int64_t>(corpus_.tokens.size()));
    corpus_.sources.push_back(std::move(record.source));
    corpus_.ids.push_back(std::move(record.id));
  }

  // A token has at least one byte, so most roles need no second encoding.
  bool is_long(const std::string& role) const {
    return role.size() + 3 > kMaxRoleTokens && tokenizer_.encode(" " + role + "\n\n", false).size() > kMaxRoleTokens;
  }

  const PrepareConfig& config_;
  const ChatTemplate& template_;
  const Tokenizer& tokenizer_;
  Sha256 source_hash_;
  Corpus corpus_;
  PrepareStatistics statistics_;
  std::unordered_map<std::string, std::string> places_;  // id → file:line
  std::vector<std::string> places_without_role_;
};

}  // namespace

PrepareStatistics prepare(const PrepareConfig& config, const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  check_config(config);
  Preparation preparation(config, chat_template, tokenizer);
  for (const fs::path& input : config.inputs) preparation.read(input);
  return preparation.finish();
}

}  // namespace spt
