#include <algorithm>

#include <fmt/format.h>

#include "base/durable.h"
#include "base/error.h"
#include "data/h5_file.h"
#include "data/h5_file_handle.h"

namespace spt {

using namespace h5;  // NOLINT(google-build-using-namespace): its other half
namespace fs = std::filesystem;

namespace {

constexpr unsigned kDeflateLevel = 4;
constexpr size_t kChunksAtOnce = 16;  // what is gathered before HDF5 sees it

template <class T>
std::string_view bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

// HDF5's reason holds the system's among offsets and addresses: "…, error message = 'No space left on device', …".
std::string system_reason(const std::string& text) {
  static constexpr std::string_view kMark = "error message = '";
  const size_t begin = text.find(kMark);
  if (begin == std::string::npos) return "HDF5: " + text.substr(0, text.find('\n'));
  return text.substr(begin + kMark.size(), text.find('\'', begin + kMark.size()) - begin - kMark.size());
}

}  // namespace

struct H5Writer::Impl {
  struct Set {
    std::string name;
    Handle id, type;
    size_t width = 0;  // bytes of an element
    hsize_t written = 0;
    std::string pending;  // bytes not yet given to HDF5
  };

  fs::path path;
  hsize_t chunk = 0;
  Handle file;
  std::vector<Set> sets;  // in the order in which they were made, in which they are finished

  template <class T>
  T check(T result) const {
    if (result < 0) throw Failure(fmt::format("{}: writing failed: {}", path.string(), system_reason(reason())));
    return result;
  }
  Handle hold(hid_t id, Handle::Close close) const { return Handle(check(id), close); }

  Set& create(const std::string& name, Handle type) {
    Set set;
    set.width = H5Tget_size(type);
    // A set that may grow has whole chunks, however small it is.
    const hsize_t none = 0, no_limit = H5S_UNLIMITED;
    const Handle space = hold(H5Screate_simple(1, &none, &no_limit), H5Sclose);
    const Handle options = hold(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    check(H5Pset_obj_track_times(options, false));
    check(H5Pset_chunk(options, 1, &chunk));
    check(H5Pset_deflate(options, kDeflateLevel));
    check(H5Pset_fletcher32(options));
    set.id = hold(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, options, H5P_DEFAULT), H5Dclose);
    set.type = std::move(type);
    set.name = name;
    return sets.emplace_back(std::move(set));
  }

  // All types are little-endian, as is the machine (data/corpus.cpp asserts it): memory goes out as it is.
  void append(const std::string& name, hid_t type, std::string_view bytes) {
    const auto found = std::find_if(sets.begin(), sets.end(), [&](const Set& set) { return set.name == name; });
    Set& set = found != sets.end() ? *found : create(name, hold(H5Tcopy(type), H5Tclose));
    set.pending += bytes;
    const size_t at_once = kChunksAtOnce * chunk * set.width;
    if (set.pending.size() >= at_once) flush(set, set.pending.size() / at_once * at_once);
  }

  void flush(Set& set, size_t bytes) {
    const hsize_t count = bytes / set.width, size = set.written + count;
    if (count == 0) return;
    check(H5Dset_extent(set.id, &size));
    const Handle space = hold(H5Dget_space(set.id), H5Sclose);
    check(H5Sselect_hyperslab(space, H5S_SELECT_SET, &set.written, nullptr, &count, nullptr));
    const Handle memory = hold(H5Screate_simple(1, &count, nullptr), H5Sclose);
    check(H5Dwrite(set.id, set.type, memory, space, H5P_DEFAULT, set.pending.data()));
    set.written = size;
    set.pending.erase(0, bytes);
  }

  Handle text_type(size_t width) const {
    Handle type = hold(H5Tcopy(H5T_C_S1), H5Tclose);
    check(H5Tset_size(type, std::max<size_t>(width, 1)));
    check(H5Tset_cset(type, H5T_CSET_UTF8));
    check(H5Tset_strpad(type, H5T_STR_NULLPAD));
    return type;
  }

  void attribute(const std::string& name, hid_t file_type, hid_t memory_type, const void* value) const {
    const Handle space = hold(H5Screate(H5S_SCALAR), H5Sclose);
    const Handle attribute = hold(H5Acreate2(file, name.c_str(), file_type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(H5Awrite(attribute, memory_type, value));
  }
};

H5Writer::H5Writer(fs::path path, int64_t chunk) {
  const std::lock_guard lock(library);
  auto impl = std::make_unique<Impl>();
  silence();
  impl->path = std::move(path);
  impl->chunk = static_cast<hsize_t>(chunk);
  const Handle access = file_access();
  impl->check(H5Pset_file_locking(access, false, true));
  impl->check(H5Pset_small_data_block_size(access, 0));  // data lie in the order in which they are written
  impl->check(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110));
  const Handle options = impl->hold(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  impl->check(H5Pset_obj_track_times(options, false));
  impl->file = impl->hold(H5Fcreate(impl->path.c_str(), H5F_ACC_TRUNC, options, access), H5Fclose);
  impl_ = std::move(impl);
}

H5Writer::~H5Writer() {
  if (!impl_) return;
  const std::lock_guard lock(library);
  const fs::path path = impl_->path;
  impl_.reset();
  std::error_code ignored;
  fs::remove(path, ignored);
}

void H5Writer::text_attribute(const std::string& name, std::string_view value) {
  const std::lock_guard lock(library);
  if (value.size() > kMaxAttributeBytes)
    throw Failure(fmt::format("attribute {} has {} bytes, the limit is {}", name, value.size(), kMaxAttributeBytes));
  std::string padded(value);
  padded.resize(std::max<size_t>(value.size(), 1));
  const Handle type = impl_->text_type(padded.size());
  impl_->attribute(name, type, type, padded.data());
}

void H5Writer::int_attribute(const std::string& name, int64_t value) {
  const std::lock_guard lock(library);
  impl_->attribute(name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

void H5Writer::append(const std::string& name, std::span<const int32_t> values) {
  const std::lock_guard lock(library);
  impl_->append(name, H5T_STD_I32LE, bytes_of(values));
}
void H5Writer::append(const std::string& name, std::span<const uint8_t> values) {
  const std::lock_guard lock(library);
  impl_->append(name, H5T_STD_U8LE, bytes_of(values));
}
void H5Writer::append(const std::string& name, std::span<const int64_t> values) {
  const std::lock_guard lock(library);
  impl_->append(name, H5T_STD_I64LE, bytes_of(values));
}

void H5Writer::append(const std::string& name, size_t width, std::span<const std::string> texts) {
  const std::lock_guard lock(library);
  const Handle type = impl_->text_type(width);
  std::string bytes;
  for (const std::string& text : texts) {
    if (text.size() > width) throw Failure(fmt::format("{}: a text of {} bytes, {} allowed", name, text.size(), width));
    bytes += text;
    bytes.append(std::max<size_t>(width, 1) - text.size(), '\0');
  }
  impl_->append(name, type, bytes);
}

void H5Writer::commit() {
  const std::lock_guard lock(library);
  for (Impl::Set& set : impl_->sets) impl_->flush(set, set.pending.size());
  impl_->sets.clear();
  impl_->check(H5Fclose(impl_->file.release()));
  sync_file(impl_->path);
  impl_.reset();
}

}  // namespace spt
