// What outer sees of the code: what it prints, and its end.
#pragma once

#include <optional>
#include <string>

#include "launch/sandbox/processes.h"

namespace spt {

class Watch {
 public:
  Watch(const Options& options, const Pipes& pipes) : limits_(options.limits), pipes_(pipes) {}

  // Returns when the code has ended or must be ended: too late, too much output, or nobody reads that any more.
  void until_end();
  // After init's end: no other process can hold the pipe.
  void take_rest();
  // Throws Failure when the code was not begun.
  SandboxStatus verdict(const std::string& marker);
  const std::string& output() const { return output_; }

 private:
  void take_output();
  void take_report();
  std::string told_marker() const;

  SandboxLimits limits_;
  const Pipes& pipes_;
  bool output_ended_ = false;
  std::optional<SandboxStatus> stopped_;
  std::optional<Report> report_;
  std::string output_;
};

}  // namespace spt
