// What reader and writer of data/h5_file.h share; for their .cpp files alone.
#pragma once

#include <mutex>
#include <string>
#include <utility>

#include <hdf5.h>

namespace spt::h5 {

inline constexpr size_t kMaxAttributeBytes = 60'000;  // HDF5 allows 64 KiB less its own header

// HDF5 keeps global state: one call at a time, over all files.
inline std::mutex library;

class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  bool valid() const { return id_ >= 0; }
  hid_t release() { return std::exchange(id_, -1); }
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor): stands where HDF5 wants an id

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

inline herr_t take_description(unsigned position, const H5E_error2_t* error, void* out) {
  if (position == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
  return 0;
}

// The innermost reason of the last failed call.
inline std::string reason() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_description, &text);
  return text.empty() ? "unknown reason" : text;
}

inline void silence() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

inline Handle file_access() {
  return Handle(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
}

}  // namespace spt::h5
