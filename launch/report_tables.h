// The tables of a report, as the page shows them and as files.
#pragma once

#include <string>
#include <vector>

#include "launch/table.h"
#include "trainer/report.h"

namespace spt {

struct ReportTable {
  std::string name;  // of its files and of its place in the page
  Table table;
};

// Those that have something to say, in the page's order:
//   runs            what ran, a column a run                configuration  keys that differ, a column a run
//   settings        of evaluations, where they differ       scores         a row a task and evaluation; seeds of an arm
//                                                                          and their mean
//   differences     as spt compare, `compared` in front     outputs        shares with a role, nothing extracted, cut
//   roles           lengths of roles in words               experts        the most frequent ones
//   judgements      a row a judgement and task
std::vector<ReportTable> report_tables(const Report& report);

// A name for each row of a comparison: "role − plain".
std::string compared_name(const ReportComparison& comparison);

}  // namespace spt
