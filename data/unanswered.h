// Prompts that got no answer, as an endpoint that is down leaves many of them.
#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "base/error.h"

namespace spt {

class Unanswered {
 public:
  void answered() {
    in_a_row_ = 0;
    any_answer_ = true;
  }
  // Throws Failure when it is the tenth in a row: then the endpoint is down.
  void failed(const std::string& reason) {
    last_ = reason;
    if (++in_a_row_ < kInARow) return;
    throw Failure(
        fmt::format("{} prompts in a row got no answer; the last one: {}\nAnswers so far are kept: start the same "
                    "command again to go on",
                    in_a_row_, last_));
  }
  // Throws Failure where prompts failed and not one was answered.
  void require_any() const {
    if (!any_answer_ && in_a_row_ > 0) throw Failure(fmt::format("no prompt got an answer; the last one: {}", last_));
  }

 private:
  static constexpr int64_t kInARow = 10;
  int64_t in_a_row_ = 0;
  bool any_answer_ = false;
  std::string last_;
};

}  // namespace spt
