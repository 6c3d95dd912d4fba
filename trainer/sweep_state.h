// How far a sweep is, on disk. Each point's state is a file of its own, POINT/point.json, so that points may run in
// different jobs; sweep.json names all points with their states, for people and scripts:
//
//   {"format": "spt-sweep", "version": 1, "program": {…}, "command_line": […], "file", "file_sha256",
//    "prepare": [STEP, …], "points": [{"name", "folder", "point", "setting", "seed", "overrides", "steps": [STEP, …]},
//    …], "after": [STEP, …], "comparisons": [file, …]}
//
// and a STEP is {"name", "arguments", "config_sha256", "status", "exit_status", "seconds", "starts", "log"}; a
// point.json is one of "points".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainer/sweep_points.h"

namespace spt {

enum class StepStatus { kWaiting, kRunning, kDone, kFailed, kStopped };
inline std::vector<std::pair<std::string, StepStatus>> enum_names(StepStatus) {
  return {{"waiting", StepStatus::kWaiting},
          {"running", StepStatus::kRunning},
          {"done", StepStatus::kDone},
          {"failed", StepStatus::kFailed},
          {"stopped", StepStatus::kStopped}};
}

struct StepState {
  std::string name;
  std::vector<std::string> arguments;  // spt's, of the last start
  std::string config_sha256;           // of the file that arguments[1] names; empty of a line of prepare or after
  StepStatus status = StepStatus::kWaiting;
  int exit_status = 0;  // of the last end; a signal is 128 and its number
  double seconds = 0;   // of all starts
  int64_t starts = 0;
  std::filesystem::path log;

  bool is_done() const { return status == StepStatus::kDone; }
};

struct PointState {
  SweepPoint point;
  std::filesystem::path folder;
  std::vector<StepState> steps;  // as point_commands

  bool is_done() const;
  bool has_failed() const;
};

struct SweepState {
  nlohmann::ordered_json head = nlohmann::ordered_json::object();  // the members of sweep.json before "prepare"
  std::vector<StepState> prepare, after;
  std::vector<PointState> points;
  std::vector<std::filesystem::path> comparisons;
};

// What is on disk for these points. A step has a history only with the arguments and the configuration that it was
// started with; one that a killed sweep left running is stopped. Throws BadInput: a damaged file, a newer version.
SweepState load_sweep_state(const SweepConfig& config, const std::vector<SweepPoint>& points);

// Replaces the files as a whole. The point's folder must exist.
void save_point(const PointState& point);
void save_sweep(const std::filesystem::path& dir, const SweepState& state);

// `arguments` and the content of the configuration, as what is to be started now.
void set_command(StepState& step, const SweepCommand& command);

}  // namespace spt
