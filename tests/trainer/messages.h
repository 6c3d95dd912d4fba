// What a call throws, for comparing the message.
#pragma once

#include <string>

#include "base/error.h"

namespace spt {

// The message of the BadInput that `f` throws; "nothing was thrown" where none is.
template <class F>
std::string bad_input_of(F&& f) {
  try {
    f();
  } catch (const BadInput& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace spt
