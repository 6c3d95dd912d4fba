// Roles from persona data that exists: a field of each record that describes the expert who answers becomes its role.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace spt {

struct RoleFromConfig {
  std::filesystem::path input, out;
  std::string field;                   // of the record's JSON object; a text
  std::string wording = "You are {}";  // begins with "You are"; {} is the description
  bool force = false;                  // replace an existing `out`
  bool replace = false;                // also where a record has a role
  int64_t limit = 0;                   // the input's first records only, in the output too; 0: all
};

struct RoleFromStatistics {
  int64_t records = 0;
  int64_t roles = 0;    // from the field
  int64_t kept = 0;     // had a role before
  int64_t no_role = 0;  // the field is missing or empty
};

// The description by the wording: on one line, its leading article in lower case ("An expert in …" → "You are an expert
// in …"), with a full stop at its end. One that begins with "You are" keeps its own words.
std::string role_from(const std::string& description, const std::string& wording);

// Writes `out`: the records with "role" and "annotation": {"from": field, "wording"}. Throws BadInput before anything
// is written: what RecordReader refuses, a field that is no text, a wording that yields no role, no record with the
// field.
RoleFromStatistics write_roles_from(const RoleFromConfig& config);

}  // namespace spt
