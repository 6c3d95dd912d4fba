#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/color.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/error.h"
#include "base/fields.h"
#include "data/chat_template.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "launch/commands.h"

namespace spt {
namespace {

struct Options {
  std::filesystem::path path, tokenizer;
  std::string rows;
  bool json = false, verify = false;
};

struct Range {
  int64_t begin, end;
};

// "A:B" is rows A to B-1, "A" is one row.
Range parse_rows(const std::string& text, int64_t size) {
  const size_t colon = text.find(':');
  Range range{};
  std::string expected = parse_scalar(text.substr(0, colon), range.begin);
  range.end = range.begin + 1;
  if (expected.empty() && colon != std::string::npos) expected = parse_scalar(text.substr(colon + 1), range.end);
  if (!expected.empty() || range.begin < 0 || range.end <= range.begin || range.end > size)
    throw BadInput(fmt::format("--rows is '{}', expected A:B with 0 ≤ A < B ≤ {}", text, size));
  return range;
}

enum class Part { kContext, kRole, kTrained };

// Tokens [begin, end) of a row that belong together.
struct Span {
  Part part;
  int64_t begin, end;
};

// A row's tokens, and the spans they fall into: context, role and the rest of what is trained.
class Row {
 public:
  Row(const Dataset& dataset, int64_t row, const Tokenizer* tokenizer) {
    const Batch batch = dataset.batch(std::span(&row, 1));
    const int64_t* ids = batch.ids.const_data_ptr<int64_t>();
    const int64_t* labels = batch.labels.const_data_ptr<int64_t>();
    ids_.assign(ids, ids + batch.ids.numel());
    for (int64_t i = 0; i < size(); ++i) {
      const Part part = i > 0 && labels[i - 1] != kNotTrained ? Part::kTrained : Part::kContext;
      if (spans_.empty() || spans_.back().part != part) spans_.push_back({part, i, i});
      spans_.back().end = i + 1;
    }
    if (tokenizer != nullptr && dataset.info().arm == "role") mark_role(dataset.info(), *tokenizer);
  }

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  const std::vector<Span>& spans() const { return spans_; }
  const std::vector<int32_t>& ids() const { return ids_; }
  std::vector<int32_t> ids(const Span& span) const { return {ids_.begin() + span.begin, ids_.begin() + span.end}; }

  // Special tokens shown as they are written.
  std::string text(const Span& span, const Tokenizer& tokenizer) const {
    std::string text;
    std::vector<int32_t> plain;
    bool at_start = span.begin == 0;
    const auto end_plain = [&] {
      if (plain.empty()) return;
      text += tokenizer.decode(plain, at_start);
      at_start = false;
      plain.clear();
    };
    for (int64_t i = span.begin; i < span.end; ++i) {
      const int32_t id = ids_[static_cast<size_t>(i)];
      if (tokenizer.special(tokenizer.piece(id)) == id) {
        end_plain();
        text += tokenizer.piece(id);
      } else {
        plain.push_back(id);
      }
    }
    end_plain();
    return text;
  }

 private:
  // The first trained span's tokens up to the blank line are the role.
  void mark_role(const CorpusInfo& info, const Tokenizer& tokenizer) {
    const auto first =
        std::find_if(spans_.begin(), spans_.end(), [](const Span& s) { return s.part == Part::kTrained; });
    if (first == spans_.end()) return;
    const ChatTemplate chat_template = ChatTemplate::parse(info.template_text, "the corpus's template");
    const int64_t limit = std::min(first->end, first->begin + static_cast<int64_t>(kMaxRoleTokens));
    int64_t end = first->begin;
    // The shortest beginning in which a role is found ends with its blank line.
    while (end <= limit && !chat_template.split(ids({Part::kTrained, first->begin, end}), tokenizer).role) ++end;
    if (end > limit) return;
    const Span role{Part::kRole, first->begin, end};
    first->begin = end;
    const bool only_role = first->begin == first->end;
    const auto place = spans_.insert(first, role);
    if (only_role) spans_.erase(place + 1);
  }

  std::vector<int32_t> ids_;
  std::vector<Span> spans_;
};

const char* name(Part part) {
  switch (part) {
    case Part::kContext:
      return "context";
    case Part::kRole:
      return "role";
    case Part::kTrained:
      return "trained";
  }
  return "";
}

fmt::text_style style(Part part) {
  switch (part) {
    case Part::kContext:
      return fmt::fg(fmt::terminal_color::bright_black);
    case Part::kRole:
      return fmt::fg(fmt::terminal_color::cyan);
    case Part::kTrained:
      return fmt::fg(fmt::terminal_color::green);
  }
  return {};
}

nlohmann::ordered_json summary(const std::filesystem::path& path, const Dataset& dataset, bool verified) {
  const CorpusInfo& info = dataset.info();
  int64_t tokens = 0;
  for (const int64_t length : dataset.lengths()) tokens += length;
  nlohmann::ordered_json out = {{"path", path.string()},
                                {"format", kCorpusFormat},
                                {"arm", info.arm},
                                {"examples", dataset.size()},
                                {"tokens", tokens},
                                {"max_tokens", info.max_tokens},
                                {"truncated_examples", info.truncated_examples},
                                {"dropped_examples", info.dropped_examples},
                                {"system", info.system},
                                {"role_prefix", info.role_prefix},
                                {"tokenizer_sha256", info.tokenizer_sha256},
                                {"source_sha256", info.source_sha256},
                                {"content_sha256", info.content_sha256}};
  if (verified) out["verified"] = true;
  return out;
}

nlohmann::ordered_json as_json(const Dataset& dataset, int64_t index, const Row& row, const Tokenizer* tokenizer) {
  nlohmann::ordered_json out = {
      {"row", index}, {"id", dataset.id(index)}, {"source", dataset.source(index)}, {"tokens", row.size()}};
  for (const Span& span : row.spans()) {
    nlohmann::ordered_json item = {{"part", name(span.part)}, {"ids", row.ids(span)}};
    if (tokenizer != nullptr) item["text"] = row.text(span, *tokenizer);
    out["spans"].push_back(std::move(item));
  }
  return out;
}

void print_row(const Dataset& dataset, int64_t index, const Row& row, const Tokenizer* tokenizer, bool colour) {
  fmt::print("\nrow {}  id {}  source {}  {} tokens\n", index, dataset.id(index), dataset.source(index), row.size());
  for (const Span& span : row.spans()) {
    const std::string text =
        tokenizer != nullptr ? row.text(span, *tokenizer) : fmt::format("{}", fmt::join(row.ids(span), " "));
    if (colour)
      fmt::print("{}", fmt::styled(text, style(span.part)));
    else
      fmt::print("[{}] {}\n", name(span.part), text);
  }
  if (colour) fmt::print("\n");
}

int run(const Options& options) {
  const Dataset dataset(options.path);
  std::unique_ptr<Tokenizer> tokenizer;
  if (!options.tokenizer.empty()) {
    tokenizer = load_tokenizer(options.tokenizer);
    dataset.require_tokenizer(tokenizer->sha256(), options.tokenizer);
  }
  const Range range = options.rows.empty() ? Range{0, 0} : parse_rows(options.rows, dataset.size());
  if (options.verify) dataset.verify();

  nlohmann::ordered_json out = summary(options.path, dataset, options.verify);
  if (options.json && tokenizer)
    out["chat_template"] = ChatTemplate::parse(dataset.info().template_text, options.path.string()).jinja(*tokenizer);
  const bool colour = isatty(STDOUT_FILENO) == 1;
  if (!options.json)
    for (const auto& [key, value] : out.items())
      fmt::print("{:<20}{}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  for (int64_t i = range.begin; i < range.end; ++i) {
    const Row row(dataset, i, tokenizer.get());
    if (options.json)
      out["rows"].push_back(as_json(dataset, i, row, tokenizer.get()));
    else
      print_row(dataset, i, row, tokenizer.get(), colour);
  }
  if (options.json) fmt::print("{}\n", out.dump(2));
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("inspect", "shows a corpus: what it is, and its rows (trained, context, role)");
  auto options = std::make_shared<Options>();
  command->add_option("path", options->path, "a corpus (.h5)")->required();
  command->add_option("--rows", options->rows, "rows A to B-1 (A:B), from 0");
  command->add_option("--tokenizer", options->tokenizer, "folder of the corpus's tokenizer: shows text instead of ids");
  command->add_flag("--json", options->json, "as JSON");
  command->add_flag("--verify", options->verify, "reads everything and compares with content_sha256");
  command->footer("Example:\n  spt inspect lima_role.h5 --rows 0:2 --tokenizer models/llama2 --verify");
  command->callback([options, &action] { action = [options](int, char**) { return run(*options); }; });
}

}  // namespace spt
