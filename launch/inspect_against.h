// spt inspect --against: which records share words with which questions of benchmarks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "launch/inspect_corpus.h"

namespace spt {

// Calls its argument with (record id, texts) for every record.
using EachRecord = std::function<void(const std::function<void(const std::string&, const std::vector<std::string>&)>&)>;

// {"ngram", "tasks": [{"task", "items", "too_short", "items_found", "records_found"}, …], "overlaps": [{"record",
// "task", "item", "shared", "runs", "words"}, …]}. Throws BadInput: as load_task and read_questions, an ngram below 1,
// the same task twice.
nlohmann::ordered_json find_overlaps(const InspectOptions& options, const EachRecord& each_record);

}  // namespace spt
