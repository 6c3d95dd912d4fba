// What a reader of a report must know before its numbers.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/eval/settings.h"
#include "trainer/report.h"

namespace spt {

// A configuration key whose value may differ between arms without making them unequal: where and how fast a run was
// done, its seed, and the corpora, in which the arms differ on purpose.
bool is_expected_difference(const std::string& key);

// The dotted keys in which the runs' configurations differ, in the order of the first.
std::vector<std::string> differing_keys(const std::vector<ReportRun>& runs);

std::vector<EvaluationSettings> settings_of(const std::vector<ReportEvaluation>& evaluations);

// `unended`: as ReportFolders. Of the rest of `report` all but its warnings is read.
std::vector<std::string> warnings_of(const Report& report, const std::vector<std::filesystem::path>& unended);

}  // namespace spt
