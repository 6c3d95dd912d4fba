// The points of a sweep, and what each of them starts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/sweep_config.h"

namespace spt {

struct SweepPoint {
  std::string name;     // of its folder, the same every time: role_lr-1e-4_seed-1
  std::string of;       // its name in `points`; empty where there are none
  std::string setting;  // its place in the grid: lr-1e-4; empty where there is none
  std::optional<uint64_t> seed;
  std::vector<std::string> overrides;  // key=value, for spt train
};

// Every seed × combination of the grid × point, in this order, the last the fastest: what is compared with each other
// comes together. Throws BadInput: two points with the same values, or whose values give the same name; a name too long
// for a folder.
std::vector<SweepPoint> expand_points(const SweepConfig& config);

// One process of a point: its training, or an evaluation. `arguments` are spt's, without the program.
struct SweepCommand {
  std::string step;              // "train", or the evaluation's name
  std::filesystem::path config;  // the file whose content counts
  std::vector<std::string> arguments;
};

// All of a point, in order. The model of an evaluation is the last checkpoint in the point's folder, "step-N" while
// there is none.
std::vector<SweepCommand> point_commands(const SweepConfig& config, const SweepPoint& point);

// Every configuration of every point, as spt train and spt eval will read them. Throws BadInput naming point and step.
void check_points(const SweepConfig& config, const std::vector<SweepPoint>& points);

// The tasks of the evaluations, with their data but what lies in the sweep's folder (`prepare` may make it), and that
// code can be confined here. Throws BadInput naming the evaluation.
void check_tasks(const SweepConfig& config, const std::vector<SweepPoint>& points);

// The words of a line of `prepare` or `after`, with {names} filled in; quotes hold words together; a word with {every}
// stands once for each point, one with {every.NAME} for each that is NAME of `points`. Throws BadInput: a quote without
// its other, an unknown name.
std::vector<std::string> command_words(const SweepConfig& config, const std::vector<SweepPoint>& points,
                                       const std::string& line);

// What a line of `prepare` writes: the words behind --out and --valid-out. Throws BadInput where there is none.
std::vector<std::filesystem::path> outputs_of(const std::vector<std::string>& words);

}  // namespace spt
