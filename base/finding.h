// What a look at the machine found (spt doctor).
#pragma once

#include <string>

namespace spt {

enum class Severity { kGood, kWarning, kFault };  // fault: something that spt does will fail

struct Finding {
  Severity severity = Severity::kGood;
  std::string about;  // "open files"
  std::string text;   // one line: what is there, and, unless it is good, what to do
};

}  // namespace spt
