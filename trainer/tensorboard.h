// Scalars for TensorBoard, in its own event files.
//
// Format: a file events.out.tfevents.<unix seconds>.<host> is a sequence of TFRecords:
//   u64 size | u32 masked CRC-32C of those 8 bytes | `size` bytes | u32 masked CRC-32C of those bytes
// all little-endian; masked(c) = ((c >> 15) | (c << 17)) + 0xa282ead8. Each holds one protobuf message `Event`:
//   1: double wall_time   2: int64 step   3: string file_version   5: Summary {1: Value {1: string tag, 2: float
//   simple_value}} 7: SessionLog {1: status, 1 = START}
// The first event has file_version "brain.Event:2". A resumed run begins a new file, whose second event is a session
// START at the first step to come: TensorBoard then drops what older files say from that step on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace spt {

class EventWriter {
 public:
  // Begins a new file in `folder`, which is made if need be. `resume_after_step` is 0 for a new run. Throws Failure
  // when nothing can be written there.
  EventWriter(const std::filesystem::path& folder, int64_t resume_after_step);

  void add_scalar(std::string_view tag, int64_t step, double value);  // stored as a float
  void flush();

 private:
  void write_event(int64_t step, std::string_view fields);

  std::filesystem::path path_;
  std::ofstream stream_;
};

}  // namespace spt
