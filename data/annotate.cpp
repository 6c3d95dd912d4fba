#include "data/annotate.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/durable.h"
#include "base/error.h"
#include "base/sha256.h"
#include "data/output_file.h"
#include "data/trimmed.h"

namespace spt {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

Annotation::Annotation(AnnotateConfig config, const Annotator& annotator)
    : config_(std::move(config)), annotator_(annotator) {
  if (config_.limit < 0) throw BadInput(fmt::format("--limit is {}, must be at least 0 (all)", config_.limit));
  if (!config_.out.empty()) check_output(config_.out, "--out", {config_.input});
  if (!config_.report.empty()) check_output(config_.report, "--report", {config_.input, config_.out});
  read_input();
}

Annotation::~Annotation() = default;

void Annotation::read_input() {
  RecordReader reader(config_.input, {});
  source_.input_sha256 = sha256_file(config_.input);
  source_.annotator_sha256 = annotator_.sha256();
  while (auto record = reader.next()) {
    input_lines_ = record->line;
    if (config_.limit > 0 && statistics_.records == config_.limit) continue;
    last_line_ = record->line;
    ++statistics_.records;
    Entry entry;
    entry.record = std::move(*record);
    if (entry.record.role && !config_.replace) {
      ++statistics_.kept;
    } else if (auto neutral = annotator_.neutral_role(entry.record)) {
      entry.role = std::move(neutral);
      ++statistics_.neutral;
    } else {
      to_ask_.push_back(entries_.size());
    }
    entries_.push_back(std::move(entry));
  }
}

void Annotation::begin(const std::string& model, const std::string& settings) {
  source_.model = model;
  source_.settings = settings;
  journal_ = std::make_unique<AnnotationJournal>(config_.out.string() + ".journal", source_, config_.force);
  for (const fs::path& path : {config_.out, config_.report}) {
    std::error_code error;
    const bool is_ours = !path.empty() && fs::is_regular_file(path, error) && journal_->has_written(sha256_file(path));
    if (!path.empty() && !config_.force && !is_ours) refuse_existing(path);
  }
  std::unordered_map<int64_t, size_t> asked;  // by line
  for (const size_t number : to_ask_) asked.emplace(entries_[number].record.line, number);
  to_ask_.clear();
  for (const JournalAnswer& answer : journal_->found()) {
    const auto found = asked.find(answer.line);
    if (found == asked.end()) continue;  // beyond the limit
    accept(found->second, answer);
    ++statistics_.from_journal;
  }
  // In the input's order: `accept` has put those first that are to be asked again.
  to_ask_.clear();
  for (size_t number = 0; number < entries_.size(); ++number) {
    const Entry& entry = entries_[number];
    if (asked.contains(entry.record.line) && !entry.role && entry.answers < annotator_.config().attempts)
      to_ask_.push_back(number);
  }
}

std::optional<ChatPrompt> Annotation::next() {
  if (to_ask_.empty()) return std::nullopt;
  const size_t number = to_ask_.front();
  to_ask_.pop_front();
  ChatPrompt prompt = annotator_.prompt(entries_[number].record, entries_[number].refused);
  prompt.number = number;
  return prompt;
}

void Annotation::take(const ChatAnswer& answer) {
  Entry& entry = entries_.at(answer.number);
  if (!answer.failure.empty()) {
    entry.failure = answer.failure;
    ++statistics_.no_answer;
    unanswered_.failed(answer.failure);
    return;
  }
  unanswered_.answered();
  const std::string text = trimmed(answer.text);
  const JournalAnswer journalled{
      entry.record.line, entry.record.id, entry.answers + 1, text, annotator_.fault_of(text, entry.record),
      answer.usage};
  journal_->append(journalled);
  accept(answer.number, journalled);
}

void Annotation::accept(size_t number, const JournalAnswer& answer) {
  Entry& entry = entries_[number];
  ++entry.answers;
  if (entry.answers == 2) ++statistics_.asked_again;
  statistics_.usage.prompt += answer.usage.prompt;
  statistics_.usage.completion += answer.usage.completion;
  if (!answer.fault) {
    entry.role = answer.text;
    ++statistics_.roles;
    return;
  }
  entry.refused.push_back({answer.text, *answer.fault});
  if (entry.answers < annotator_.config().attempts)
    to_ask_.push_front(number);
  else
    ++statistics_.no_role;
}

void Annotation::sync() {
  journal_->sync();
}

void Annotation::finish() {
  unanswered_.require_any();
  if (sha256_file(config_.input) != source_.input_sha256)
    throw Failure(fmt::format("{} was changed while it was annotated", config_.input.string()));
  const fs::path partial = partial_of(config_.out);
  const std::string report_text = report();
  journal_->append_written(
      {write_annotated_file(config_.input, partial, new_roles(), last_line_), sha256_hex(report_text)});
  rename_durable(partial, config_.out);
  if (!config_.report.empty()) write_durable(config_.report, report_text);
  if (!keeps_journal()) journal_->remove();
}

std::vector<NewRole> Annotation::new_roles() const {
  std::vector<NewRole> roles;
  for (const Entry& entry : entries_) {
    if (!entry.role) continue;
    // No model wrote the role of a record that was not asked for.
    const ordered_json annotation{{"model", entry.answers > 0 ? ordered_json(source_.model) : ordered_json()},
                                  {"prompt_sha256", source_.annotator_sha256},
                                  {"attempts", entry.answers}};
    roles.push_back({entry.record.line, *entry.role, annotation.dump()});
  }
  return roles;
}

std::string Annotation::report() const {
  std::string text;
  for (const Entry& entry : entries_) {
    const char* outcome = !entry.failure.empty() ? "no answer" : entry.role ? "asked again" : "no role";
    if (entry.failure.empty() && entry.refused.empty()) continue;
    ordered_json line{{"line", entry.record.line}, {"id", entry.record.id}, {"outcome", outcome}};
    line["answers"] = ordered_json::array();
    for (const auto& [answer, fault] : entry.refused) line["answers"].push_back({{"text", answer}, {"fault", fault}});
    if (!entry.failure.empty()) line["failure"] = entry.failure;
    text += line.dump() + "\n";
  }
  return text;
}

TokenUsage Annotation::estimate() const {
  TokenUsage sum;
  for (const size_t number : to_ask_) {
    const Entry& entry = entries_[number];
    const TokenUsage one =
        estimate_tokens(annotator_.prompt(entry.record, entry.refused), annotator_.config().checks.max_words);
    sum.prompt += one.prompt;
    sum.completion += one.completion;
  }
  return sum;
}

}  // namespace spt
