// A report as one HTML page that needs nothing else: style, scripts, charts' library and data stand in it, and its
// content security policy lets it load nothing and run only these scripts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/report_tables.h"
#include "trainer/report.h"

namespace spt {

struct PageOptions {
  std::string made;                // when, for its head
  std::optional<int64_t> samples;  // of each task at most, chosen by a hash of their ids; none: all
  std::string plotly;              // the library's text (launch/report_assets.h)
};

// Texts from outside pass through data/printable.h and stand in JSON (script_json), which the page's script puts in as
// text: none of them can be markup, script, or speak to a terminal into which it is copied.
std::string report_page(const Report& report, const std::vector<ReportTable>& tables, const PageOptions& options);

}  // namespace spt
