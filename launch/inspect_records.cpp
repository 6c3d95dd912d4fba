#include <fmt/format.h>

#include "base/fields.h"
#include "data/record_statistics.h"
#include "launch/inspect_against.h"
#include "launch/inspect_corpus.h"
#include "launch/inspect_print.h"

namespace spt {
namespace {

using nlohmann::ordered_json;

ordered_json lengths_row(const char* what, const Lengths& words) {
  return {{"of", what},       {"count", words.count}, {"words", words.total}, {"p5", words.p5},
          {"p50", words.p50}, {"p95", words.p95},     {"max", words.max}};
}

}  // namespace

void inspect_records(const InspectOptions& options) {
  const RecordStatistics found = record_statistics(options.path);
  ordered_json sources = ordered_json::array();
  for (const auto& [source, records] : found.by_source)
    sources.push_back({{"source", source.empty() ? ordered_json() : ordered_json(source)}, {"records", records}});
  ordered_json out = {
      {"path", options.path.string()},
      {"kind", "records"},
      {"format", fields_detail::format_any(found.format)},
      {"records", found.records},
      {"with_role", found.with_role},
      {"with_system", found.with_system},
      {"multi_turn", found.multi_turn},
      {"without_answer", found.without_answer},
      {"trailing_turns", found.trailing_turns},
      {"sources", sources},
      {"words", ordered_json::array({lengths_row("user turns", found.user_turns), lengths_row("answers", found.answers),
                                     lengths_row("roles", found.roles)})}};
  if (!options.against.empty())
    out["against"] = find_overlaps(options, [&](const auto& use) {
      RecordReader reader(options.path, {RecordFormat::kAuto, RecordUse::kAny});
      while (const auto record = reader.next()) {
        std::vector<std::string> texts = record->turns;
        if (record->role) texts.push_back(*record->role);
        use(record->id, texts);
      }
    });
  if (options.json)
    fmt::print("{}\n", out.dump(2));
  else
    print_facts(out);
}

}  // namespace spt
