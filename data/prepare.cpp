#include "data/prepare.h"

#include <algorithm>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fields.h"
#include "base/sha256.h"
#include "data/corpus.h"
#include "data/example_encoder.h"
#include "data/ordered_work.h"
#include "data/prepare_check.h"

namespace spt {
namespace {

constexpr size_t kPlacesShown = 5;
constexpr size_t kSourcesKept = 20;
constexpr size_t kBatchBytes = 1 << 18;  // of records that a thread takes at once

// Records of one file that follow each other.
struct RecordBatch {
  size_t input = 0;
  size_t first = 0;  // index of the first one among all records
  std::vector<RecordLine> lines;
  RecordOptions options;
};

// Each path's last names, as few as make it differ from the others: the same for a study wherever its folder lies.
std::vector<std::string> distinct_names(const std::vector<std::filesystem::path>& paths) {
  const auto last_names = [](const std::filesystem::path& path, int count) {
    std::filesystem::path names;
    auto part = path.end();
    for (int i = 0; i < count && part != path.begin(); ++i) names = names.empty() ? *--part : *--part / names;
    return names.string();
  };
  std::vector<std::string> names;
  for (const std::filesystem::path& path : paths) {
    const std::filesystem::path own = std::filesystem::absolute(path).lexically_normal();
    std::string name;
    const auto is_another = [&](const std::filesystem::path& other, int count) {
      const std::filesystem::path normal = std::filesystem::absolute(other).lexically_normal();
      return normal == own || last_names(normal, count) != name;
    };
    for (int count = 1;; ++count) {
      name = last_names(own, count);
      if (std::ranges::all_of(paths, [&](const auto& other) { return is_another(other, count); })) break;
    }
    names.push_back(name);
  }
  return names;
}

// What the first reading keeps of a record for a moment.
struct Summary {
  std::string id, source;
  int64_t line = 0;
  std::optional<std::string> role;
  bool dropped_trailing_turn = false;
};

class Preparation {
 public:
  Preparation(const PrepareConfig& config, const ChatTemplate& chat_template, const Tokenizer& tokenizer)
      : config_(config),
        threads_(config.threads > 0 ? static_cast<size_t>(config.threads)
                                    : std::max(1U, std::thread::hardware_concurrency())),
        names_(distinct_names(config.inputs)),
        template_(with_system(chat_template, config.ablation.system)),
        tokenizer_(tokenizer),
        encoder_({config.arm, config.ablation, static_cast<size_t>(config.max_tokens)}, template_, tokenizer) {}

  PrepareStatistics run() {
    template_.encode_prompt({"", "", ""}, std::nullopt, tokenizer_);  // a special token that lacks is no record's fault
    survey();
    SelectionConfig selection = config_.selection;
    selection.weights.resize(config_.inputs.size(), 1.0);
    choices_ = choose(candidates_, selection);
    if (config_.ablation.roles == Roles::kShuffled) giver_ = shuffle_roles(candidates_, choices_);
    encode(selection);
    return statistics_;
  }

 private:
  struct Place {
    size_t input;
    int64_t line;
  };

  // Reads all inputs; `work` sees each batch on some thread, `take` its result in order. Returns the SHA-256 of all.
  template <class Result, class Work, class Take>
  std::string read_all(Work work, Take take) {
    Sha256 hash;
    OrderedWork<RecordBatch, Result> workers(threads_, work);
    size_t records = 0;
    for (size_t input = 0; input < config_.inputs.size(); ++input) {
      RecordReader reader(config_.inputs[input], {config_.format, RecordUse::kTraining, template_.role_prefix()});
      reader.hash_into(hash);
      for (bool more = true; more;) {
        RecordBatch batch{input, records, {}, {}};
        for (size_t bytes = 0; more && bytes < kBatchBytes;) {
          auto line = reader.next_line();
          more = line.has_value();
          if (!more) break;
          bytes += line->text.size();
          batch.lines.push_back(std::move(*line));
        }
        records += batch.lines.size();
        batch.options = reader.options();
        if (workers.full()) take(workers.pop());
        workers.push(std::move(batch));
      }
    }
    while (!workers.empty()) take(workers.pop());
    return hash.hex();
  }

  std::string id_of(const Record& record, size_t input) const {
    return config_.inputs.size() > 1 && !record.has_own_id ? fmt::format("{}:{}", names_[input], record.line)
                                                           : record.id;
  }

  // Every record is checked and becomes a candidate.
  void survey() {
    using Summaries = std::pair<size_t, std::vector<Summary>>;
    source_sha256_ = read_all<Summaries>(
        [this](const RecordBatch& batch) {
          Summaries summaries{batch.input, {}};
          for (const RecordLine& line : batch.lines) {
            Record record = parse_record(config_.inputs[batch.input], line, batch.options);
            summaries.second.push_back({id_of(record, batch.input), std::move(record.source), line.number,
                                        std::move(record.role), record.dropped_trailing_turn});
          }
          return summaries;
        },
        [this](Summaries summaries) {
          for (Summary& summary : summaries.second) add_candidate(summaries.first, summary);
        });
    require_sources();
    if (config_.arm == Arm::kRole && config_.missing_role == MissingRole::kError && statistics_.without_role > 0)
      throw BadInput(fmt::format(
          "{} of {} records have no role, the first: {}; write them with spt annotate, or leave these records out with "
          "--missing-role drop (in both arms)",
          statistics_.without_role, statistics_.records, fmt::join(places_without_role_, ", ")));
  }

  // A source that no record has is a misspelt one.
  void require_sources() const {
    for (const std::string& wanted : config_.selection.sources) {
      if (sources_.contains(wanted)) continue;
      std::vector<std::string> there;
      for (const std::string& source : sources_)
        if (there.size() < kSourcesKept) there.push_back(source.empty() ? "\"\" (none is named)" : source);
      throw BadInput(fmt::format("--select source={}: no record is of it; there are: {}{}", wanted,
                                 fmt::join(there, ", "), sources_.size() > there.size() ? ", …" : ""));
    }
  }

  // The first sources met, to be named, and those that are asked for.
  void keep_source(const std::string& source) {
    const std::vector<std::string>& wanted = config_.selection.sources;
    if (wanted.empty()) return;
    if (sources_.size() <= kSourcesKept || std::ranges::find(wanted, source) != wanted.end()) sources_.insert(source);
  }

  void add_candidate(size_t input, Summary& summary) {
    ++statistics_.records;
    statistics_.dropped_trailing_turns += summary.dropped_trailing_turn;
    claim_id(summary.id, {input, summary.line});
    shape_.longest_id = std::max(shape_.longest_id, summary.id.size());
    keep_source(summary.source);
    shape_.longest_source = std::max(shape_.longest_source, summary.source.size());
    const std::vector<std::string>& sources = config_.selection.sources;
    Candidate candidate{text_hash(summary.id, config_.selection.seed), input, true};
    candidate.eligible = sources.empty() || std::find(sources.begin(), sources.end(), summary.source) != sources.end();
    if (candidate.eligible && !summary.role) {
      ++statistics_.without_role;
      if (places_without_role_.size() < kPlacesShown) places_without_role_.push_back(text({input, summary.line}));
      candidate.eligible = config_.missing_role != MissingRole::kDrop;
      statistics_.dropped_without_role += !candidate.eligible;
    }
    candidates_.push_back(candidate);
    if (config_.ablation.roles == Roles::kShuffled) roles_.push_back(summary.role.value_or(""));
  }

  std::string text(const Place& place) const {
    return fmt::format("{}:{}", config_.inputs[place.input].string(), place.line);
  }

  void claim_id(const std::string& id, const Place& place) {
    if (const auto [found, is_new] = places_.emplace(text_hash(id), place); !is_new)
      throw BadInput(fmt::format("{}: the id \"{}\" stands at {} already: every record needs its own", text(place), id,
                                 text(found->second)));
  }

  // The chosen records of a batch, encoded.
  struct Encoded {
    size_t index;  // among all records
    Place place;
    std::string id, source;
    std::optional<PreparedExample> example;  // none: no trained token within the limit
  };

  std::vector<Encoded> encode(const RecordBatch& batch) const {
    std::vector<Encoded> examples;
    for (size_t i = 0; i < batch.lines.size(); ++i) {
      const size_t index = batch.first + i;
      if (index >= choices_.size()) throw_changed();
      if (choices_[index].copies == 0 && !choices_[index].held_out) continue;
      Record record = parse_record(config_.inputs[batch.input], batch.lines[i], batch.options);
      if (!roles_.empty()) record.role = roles_[giver_[index]];
      const Place place{batch.input, record.line};
      examples.push_back({index, place, id_of(record, batch.input), record.source, encode(record, place)});
    }
    return examples;
  }

  std::optional<PreparedExample> encode(const Record& record, const Place& place) const {
    try {
      return encoder_.encode(record);
    } catch (const BadInput& error) {
      throw BadInput(fmt::format("{}: {}", text(place), error.what()));
    }
  }

  [[noreturn]] void throw_changed() const {
    throw BadInput(fmt::format("{}: the records changed while they were read: start again when nothing writes them",
                               config_.inputs[0].string()));
  }

  void encode(const SelectionConfig& selection) {
    CorpusShape valid_shape = shape_;
    int most_copies = 1;
    for (const Choice& choice : choices_) {
      shape_.examples += choice.copies;
      valid_shape.examples += choice.held_out;
      most_copies = std::max(most_copies, choice.copies);
    }
    if (most_copies > 1) shape_.longest_id += copy_suffix(most_copies).size();
    shape_.shards = config_.shards;
    if (config_.shards > std::max<int64_t>(shape_.examples, 1))
      throw BadInput(fmt::format("--shards is {}, there are {} examples: expected 1…{}", config_.shards,
                                 shape_.examples, shape_.examples));
    CorpusWriter train(config_.out, shape_);
    std::optional<CorpusWriter> valid;
    if (selection.valid) valid.emplace(config_.valid_out, valid_shape);
    CorpusInfo info = describe(selection), valid_info = info;
    const std::string sha256 =
        read_all<std::vector<Encoded>>([this](const RecordBatch& batch) { return encode(batch); },
                                       [&](const std::vector<Encoded>& examples) {
                                         for (const Encoded& encoded : examples) {
                                           if (choices_[encoded.index].held_out)
                                             add(encoded, *valid, valid_info, valid_statistics_);
                                           else
                                             add(encoded, train, info, statistics_);
                                         }
                                       });
    if (sha256 != source_sha256_) throw_changed();
    require_examples(train, statistics_);
    if (valid) require_examples(*valid, valid_statistics_);
    statistics_.examples = train.examples();
    statistics_.tokens = train.tokens();
    info.dropped_examples = statistics_.dropped_too_long + statistics_.dropped_without_role;
    if (valid) {
      statistics_.valid_examples = valid->examples();
      valid_info.dropped_examples = valid_statistics_.dropped_too_long;
      valid->finish(valid_info);
    }
    train.finish(info);
    if (valid) valid->commit();
    train.commit();
  }

  static std::string copy_suffix(int copy) { return fmt::format("#{}", copy); }

  void add(const Encoded& encoded, CorpusWriter& writer, CorpusInfo& info, PrepareStatistics& statistics) {
    const int copies = std::max(1, choices_[encoded.index].copies);
    if (!encoded.example) {
      statistics.dropped_too_long += copies;
      return;
    }
    const PreparedExample& example = *encoded.example;
    for (int copy = 1; copy <= copies; ++copy) {
      const std::string id = copy == 1 ? encoded.id : encoded.id + copy_suffix(copy);
      if (copy > 1) claim_id(id, encoded.place);
      writer.add(example.ids, example.trained, encoded.source, id);
      info.truncated_examples += example.truncated;
      statistics.truncated += example.truncated;
      statistics.long_roles += example.long_role;
      statistics.without_restatement += example.without_restatement;
      statistics_.beyond_model +=
          config_.model_tokens > 0 && static_cast<int64_t>(example.ids.size()) > config_.model_tokens;
      statistics.longest = std::max(statistics.longest, static_cast<int64_t>(example.ids.size()));
      statistics.trained_tokens += std::count(example.trained.begin(), example.trained.end(), 1);
    }
  }

  void require_examples(const CorpusWriter& writer, const PrepareStatistics& statistics) const {
    if (writer.examples() > 0) return;
    throw BadInput(
        fmt::format("{}: no example is left of {} records: {} have no role, {} no answer within --max-tokens {}",
                    config_.inputs[0].string(), statistics_.records, statistics_.dropped_without_role,
                    statistics.dropped_too_long, config_.max_tokens));
  }

  CorpusInfo describe(const SelectionConfig& selection) const {
    CorpusInfo info;
    info.arm = fields_detail::format_any(config_.arm);
    info.template_text = template_.text();
    info.system = template_.system();
    info.role_prefix = template_.role_prefix();
    info.tokenizer_sha256 = tokenizer_.sha256();
    info.source_sha256 = source_sha256_;
    info.ablation = config_.ablation.to_json();
    info.selection = selection.to_json();
    info.max_tokens = config_.max_tokens;
    return info;
  }

  const PrepareConfig& config_;
  const size_t threads_;
  const std::vector<std::string> names_;  // of the inputs, in ids
  const ChatTemplate template_;
  const Tokenizer& tokenizer_;
  const ExampleEncoder encoder_;
  std::string source_sha256_;
  std::unordered_map<uint64_t, Place> places_;  // hash of an id → where it stands
  std::vector<std::string> places_without_role_;
  std::set<std::string> sources_;
  std::vector<Candidate> candidates_;  // one a record
  std::vector<std::string> roles_;     // one a record, for shuffled roles only
  std::vector<Choice> choices_;
  std::vector<size_t> giver_;
  CorpusShape shape_;
  PrepareStatistics statistics_, valid_statistics_;
};

}  // namespace

PrepareStatistics prepare(const PrepareConfig& config, const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  check_prepare(config);
  return Preparation(config, chat_template, tokenizer).run();
}

}  // namespace spt
