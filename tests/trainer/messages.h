// What a call throws, for comparing the message.
#pragma once

#include <string>

#include "base/error.h"

namespace spt {

// The message of the Error that `f` throws; "nothing was thrown" where none is.
template <class Error, class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}
template <class F>
std::string bad_input_of(F&& f) {
  return message_of<BadInput>(f);
}

}  // namespace spt
