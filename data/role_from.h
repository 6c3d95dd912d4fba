// Roles from persona data that exists: a field of each record that describes the expert who answers becomes its role.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
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
  int64_t roles = 0;                 // from the field
  int64_t kept = 0;                  // had a role before
  int64_t no_role = 0;               // the field is missing or empty
  int64_t third_person = 0;          // of `roles`: go on about the expert in the third person
  std::string third_person_example;  // FILE:LINE and the words of the first of them
};

// The description by the wording: on one line, its leading article in lower case ("An expert in …" → "You are an expert
// in …"), with a full stop at its end. One that begins with "You are" keeps its own words.
std::string role_from(const std::string& description, const std::string& wording);

// Where a role speaks of the expert in the third person ("You are a cook. They know …"): the first such clause. A
// pronoun counts where it opens a clause; elsewhere it is mostly somebody else's ("You help people with their taxes").
std::optional<std::string> third_person_in(const std::string& role);

// Writes `out`: the records with "role" and "annotation": {"from": field, "wording"}. Throws BadInput before anything
// is written: what RecordReader refuses, a field that is no text, a wording that yields no role, no record with the
// field.
RoleFromStatistics write_roles_from(const RoleFromConfig& config);

}  // namespace spt
