// How far a long job is, on stderr of a terminal: one line with a bar, counts, remarks and the time left.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace spt {

class ProgressBar {
 public:
  // Of `total` things, `done` were there before; the time left is reckoned from the pace since now, once `fewest` are
  // done: where many are under way at a time, the first few tell nothing.
  ProgressBar(int64_t done, int64_t total, int64_t fewest = 1);
  ~ProgressBar() { end_line(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // False where stderr is a file or a pipe: write log lines instead. mpirun puts a pipe between a rank and the
  // terminal: launch/local.sh sets SPT_TERMINAL where there is one.
  static bool has_terminal();

  // Draws over the line before; the last one (done == total) ends it.
  void draw(int64_t done, const std::string& remarks);
  // So that a message can follow.
  void end_line();
  // "1:05" or "2:00:00"; "?" while there is no pace yet.
  std::string time_left(int64_t done) const;

 private:
  int64_t first_, total_, fewest_;
  bool on_bar_ = false;
  std::chrono::steady_clock::time_point start_;
};

std::string clock_time(double seconds);  // "0:07", "12:05", "3:00:00"

}  // namespace spt
