#include "launch/inspect_corpus.h"

#include <memory>

#include <fmt/color.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fields.h"
#include "data/chat_template.h"
#include "data/corpus_row.h"
#include "data/corpus_statistics.h"
#include "data/printable.h"
#include "launch/confined_verify.h"
#include "launch/inspect_against.h"
#include "launch/inspect_print.h"

namespace spt {
namespace {

using nlohmann::ordered_json;

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

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

void add_statistics(const CorpusStatistics& found, ordered_json& out) {
  out["trained_tokens"] = found.trained_tokens;
  out["trained_share"] = share(found.trained_tokens, found.tokens.total);
  if (found.roles)
    out["roles"] = {{"examples", found.roles->examples},
                    {"share_of_examples", share(found.roles->examples, found.tokens.count)},
                    {"tokens", found.roles->tokens},
                    {"share_of_trained_tokens", share(found.roles->trained, found.trained_tokens)}};
  const auto row = [](const std::string& source, const Lengths& tokens) {
    return ordered_json{{"source", source},  {"examples", tokens.count}, {"tokens", tokens.total}, {"p5", tokens.p5},
                        {"p50", tokens.p50}, {"p95", tokens.p95},        {"max", tokens.max}};
  };
  out["lengths"] = row("all", found.tokens);
  out["lengths"].erase("source");
  for (const auto& [source, tokens] : found.by_source) out["sources"].push_back(row(source, tokens));
  for (const HistogramBin& bin : found.histogram)
    out["histogram"].push_back({{"begin", bin.begin}, {"end", bin.end}, {"count", bin.count}});
}

// An attribute that holds JSON; as text where somebody else wrote something else.
ordered_json parsed(const std::string& attribute) {
  ordered_json value = ordered_json::parse(attribute, nullptr, false);
  return value.is_discarded() ? ordered_json(attribute) : value;
}

ordered_json summary(const InspectOptions& options, const Dataset& corpus, const Tokenizer* tokenizer) {
  const CorpusInfo& info = corpus.info();
  const CorpusStatistics found = corpus_statistics(corpus, tokenizer);
  ordered_json out = {{"path", options.path.string()},
                      {"kind", "corpus"},
                      {"format", kCorpusFormat},
                      {"arm", info.arm},
                      {"parts", corpus.parts()},
                      {"ablation", parsed(info.ablation)},
                      {"selection", parsed(info.selection)},
                      {"examples", corpus.size()},
                      {"tokens", found.tokens.total},
                      {"max_tokens", info.max_tokens},
                      {"truncated_examples", info.truncated_examples},
                      {"dropped_examples", info.dropped_examples},
                      {"system", info.system},
                      {"role_prefix", info.role_prefix},
                      {"template", info.template_text},
                      {"tokenizer_sha256", info.tokenizer_sha256},
                      {"source_sha256", info.source_sha256},
                      {"content_sha256", info.content_sha256}};
  if (options.verify) out["verified"] = true;
  add_statistics(found, out);
  return out;
}

ordered_json as_json(const Dataset& corpus, int64_t index, const CorpusRow& row, const Tokenizer* tokenizer) {
  ordered_json out = {
      {"row", index}, {"id", corpus.id(index)}, {"source", corpus.source(index)}, {"tokens", row.ids.size()}};
  for (const RowSpan& span : row.spans) {
    ordered_json item = {{"part", name_of(span.part)}, {"ids", row.ids_of(span)}};
    if (tokenizer != nullptr) item["text"] = row.text_of(span, *tokenizer);
    out["spans"].push_back(std::move(item));
  }
  return out;
}

// What is trained is underlined.
fmt::text_style style_of(RowPart part) {
  switch (part) {
    case RowPart::kContext:
      return fmt::fg(fmt::terminal_color::blue);
    case RowPart::kUntrainedRole:
      return fmt::fg(fmt::terminal_color::cyan);
    case RowPart::kRole:
      return fmt::fg(fmt::terminal_color::cyan) | fmt::emphasis::underline;
    case RowPart::kTrained:
      return fmt::fg(fmt::terminal_color::green) | fmt::emphasis::underline;
  }
  return {};
}

void print_coloured(const RowSpan& span, const std::string& text, const std::string& system) {
  // A record's own system line is not known any more; it stands with the user's text.
  const size_t end = span.begin == 0 && !system.empty() ? text.find(system) : std::string::npos;
  const size_t system_end = end == std::string::npos ? 0 : end + system.size();
  fmt::print("{}{}", fmt::styled(text.substr(0, system_end), fmt::fg(fmt::terminal_color::bright_black)),
             fmt::styled(text.substr(system_end), style_of(span.part)));
}

void print_row(const Dataset& corpus, int64_t index, const CorpusRow& row, const Tokenizer* tokenizer, bool colour) {
  fmt::print("\nrow {}  id {}  source {}  {} tokens\n", index, printable(corpus.id(index)),
             printable(corpus.source(index)), row.ids.size());
  for (const RowSpan& span : row.spans) {
    const std::string text = tokenizer != nullptr ? printable(row.text_of(span, *tokenizer))
                                                  : fmt::format("{} ", fmt::join(row.ids_of(span), " "));
    if (colour)
      print_coloured(span, text, printable(corpus.info().system));
    else
      fmt::print("[{}] {}\n", name_of(span.part), text);
  }
  if (colour) fmt::print("\n");
}

ordered_json overlaps_of(const InspectOptions& options, const Dataset& corpus, const RowReader& reader,
                         const Tokenizer* tokenizer) {
  if (tokenizer == nullptr)
    throw BadInput("--against reads a corpus as text: name the folder of its tokenizer with --tokenizer");
  return find_overlaps(options, [&](const auto& use) {
    for (int64_t i = 0; i < corpus.size(); ++i) {
      const CorpusRow row = reader.read(i);
      std::vector<std::string> texts;
      for (const RowSpan& span : row.spans) texts.push_back(row.text_of(span, *tokenizer));
      use(corpus.id(i), texts);
    }
  });
}

}  // namespace

void inspect_corpus(const InspectOptions& options) {
  // Whole and unchanged, as a process found that could afford to crash; only then is it opened here.
  if (options.verify) verify_corpus_apart(options.path, options.verify_seconds);
  const Dataset corpus(options.path);
  std::unique_ptr<Tokenizer> tokenizer;
  if (!options.tokenizer.empty()) {
    tokenizer = load_tokenizer(options.tokenizer);
    corpus.require_tokenizer(tokenizer->sha256(), options.tokenizer);
  }
  const Range range = options.rows.empty() ? Range{0, 0} : parse_rows(options.rows, corpus.size());
  const RowReader reader(corpus, tokenizer.get());
  ordered_json out = summary(options, corpus, tokenizer.get());
  if (!options.against.empty()) out["against"] = overlaps_of(options, corpus, reader, tokenizer.get());
  if (options.json) {
    if (tokenizer)
      out["chat_template"] = ChatTemplate::parse(corpus.info().template_text, options.path.string()).jinja(*tokenizer);
    for (int64_t i = range.begin; i < range.end; ++i)
      out["rows"].push_back(as_json(corpus, i, reader.read(i), tokenizer.get()));
    fmt::print("{}\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace));
    return;
  }
  const ordered_json bins = out["histogram"];
  out.erase("histogram");
  print_facts(out);
  fmt::print("tokens an example\n");
  print_histogram(bins);
  const bool colour = isatty(STDOUT_FILENO) == 1;
  for (int64_t i = range.begin; i < range.end; ++i) print_row(corpus, i, reader.read(i), tokenizer.get(), colour);
}

}  // namespace spt
