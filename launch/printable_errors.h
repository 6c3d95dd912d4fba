#pragma once

#include "base/error.h"
#include "data/printable.h"

namespace spt {

// Calls `body`, whose messages hold names and texts out of others' files: none may speak to the terminal.
template <class Body>
auto with_printable_errors(Body body) {
  try {
    return body();
  } catch (const BadInput& error) {
    throw BadInput(printable(error.what()));
  }
}

}  // namespace spt
