// The folder that spt report writes: index.html, tables/, and report.json, which says what is ours.
//
//   report.json  {"format": "spt-report", "version": 1, "files": {NAME: SHA-256, …}}
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace spt {

// Throws BadInput: nothing can be written there; or, without `force`, the folder holds anything but a report of ours
// whose files are as they were written.
void check_report_folder(const std::filesystem::path& folder, bool force);

// Writes the files (their names relative to the folder), report.json last, and removes those of an earlier report that
// are not among them. Throws Failure.
void write_report_folder(const std::filesystem::path& folder, const std::map<std::string, std::string>& files);

}  // namespace spt
