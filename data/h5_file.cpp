#include "data/h5_file.h"

#include <algorithm>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "data/h5_file_handle.h"

namespace spt {

using namespace h5;  // NOLINT(google-build-using-namespace): its other half
namespace fs = std::filesystem;

namespace {

// deflate makes data at most 1,032 times smaller: a data set larger than that cannot be in the file.
constexpr int64_t kMaxCompression = 1032;
constexpr int64_t kMaxChunkBytes = 1 << 24;
constexpr size_t kMaxTextBytes = 1 << 12;

}  // namespace

struct H5Reader::Impl {
  struct Set {
    Handle id, type;
    H5T_class_t kind;
    int64_t width;  // bytes of an element
    int64_t size;
  };

  const fs::path& path;
  int64_t file_bytes = 0;
  Handle file;
  std::map<std::string, Set> sets;  // those opened so far

  explicit Impl(const fs::path& path_of_file) : path(path_of_file) {}

  [[noreturn]] void fail(const std::string& message) const {
    throw BadInput(fmt::format("{}: {}", path.string(), message));
  }
  [[noreturn]] void fail_hdf5(const std::string& doing) const {
    fail(fmt::format("{} failed ({}): the file is damaged or no corpus; make it again with spt prepare", doing,
                     reason()));
  }
  template <class T>
  T check(T result, const std::string& doing) const {
    if (result < 0) fail_hdf5(doing);
    return result;
  }
  Handle hold(hid_t id, Handle::Close close, const std::string& doing) const { return Handle(check(id, doing), close); }

  Handle attribute(const std::string& name) const {
    const htri_t exists = check(H5Aexists(file, name.c_str()), "looking for attribute " + name);
    if (exists == 0) fail(fmt::format("has no attribute \"{}\": it is no corpus, or damaged", name));
    return hold(H5Aopen(file, name.c_str(), H5P_DEFAULT), H5Aclose, "opening attribute " + name);
  }

  const Set& set(const std::string& name) {
    if (const auto found = sets.find(name); found != sets.end()) return found->second;
    const std::string doing = "opening data set " + name;
    const htri_t exists = check(H5Lexists(file, name.c_str(), H5P_DEFAULT), doing);
    if (exists == 0) fail(fmt::format("has no data set \"{}\": it is no corpus, or damaged", name));
    H5L_info_t link;
    check(H5Lget_info(file, name.c_str(), &link, H5P_DEFAULT), doing);
    if (link.type != H5L_TYPE_HARD) fail(fmt::format("data set {} is a link, expected the data itself", name));
    Set set;
    set.id = hold(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, doing);
    set.type = hold(H5Dget_type(set.id), H5Tclose, doing);
    set.kind = H5Tget_class(set.type);
    set.width = static_cast<int64_t>(H5Tget_size(set.type));
    const Handle space = hold(H5Dget_space(set.id), H5Sclose, doing);
    if (H5Sget_simple_extent_ndims(space) != 1) fail(fmt::format("data set {} must have one dimension", name));
    hsize_t size = 0;
    check(H5Sget_simple_extent_dims(space, &size, nullptr), doing);
    check_storage(name, set, doing);
    if (set.width <= 0 || size > static_cast<hsize_t>((file_bytes * kMaxCompression + kMaxChunkBytes) / set.width))
      fail(fmt::format("data set {} claims {} elements, more than a file of {} bytes can hold: it is damaged", name,
                       size, file_bytes));
    set.size = static_cast<int64_t>(size);
    return sets.emplace(name, std::move(set)).first->second;
  }

  void check_storage(const std::string& name, const Set& set, const std::string& doing) const {
    const Handle options = hold(H5Dget_create_plist(set.id), H5Pclose, doing);
    hsize_t chunk = 0;
    if (H5Pget_layout(options) != H5D_CHUNKED || H5Pget_chunk(options, 1, &chunk) != 1)
      fail(fmt::format("data set {} must be stored in chunks", name));
    if (chunk > static_cast<hsize_t>(kMaxChunkBytes / std::max<int64_t>(set.width, 1)))
      fail(fmt::format("data set {} has chunks of {} elements, the limit is {} bytes", name, chunk, kMaxChunkBytes));
    unsigned flags = 0;
    size_t values = 0;
    if (H5Pget_filter_by_id2(options, H5Z_FILTER_FLETCHER32, &flags, &values, nullptr, 0, nullptr, nullptr) < 0)
      fail(fmt::format("data set {} has no checksum (Fletcher32)", name));
  }

  void read(const std::string& name, hid_t memory_type, int64_t begin, int64_t count, void* out) {
    const Set& from = set(name);
    if (begin < 0 || count < 0 || begin > from.size - count)
      fail(fmt::format("elements {}…{} asked for, data set {} has {}", begin, begin + count, name, from.size));
    if (count == 0) return;
    const std::string doing = fmt::format("reading {}", name);
    const Handle space = hold(H5Dget_space(from.id), H5Sclose, doing);
    const hsize_t start = static_cast<hsize_t>(begin), size = static_cast<hsize_t>(count);
    check(H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, nullptr, &size, nullptr), doing);
    const Handle memory = hold(H5Screate_simple(1, &size, nullptr), H5Sclose, doing);
    if (H5Dread(from.id, memory_type, memory, space, H5P_DEFAULT, out) < 0)
      fail(fmt::format("reading {} failed ({}): the file is damaged, make it again with spt prepare", name, reason()));
  }

  template <class T>
  void read_integers(const std::string& name, hid_t memory_type, int64_t begin, std::span<T> out) {
    const Set& from = set(name);
    if (from.kind != H5T_INTEGER || from.width != sizeof(T) ||
        (H5Tget_sign(from.type) == H5T_SGN_2) != std::is_signed_v<T>)
      fail(fmt::format("data set {} must hold {} integers of {} bits", name,
                       std::is_signed_v<T> ? "signed" : "unsigned", 8 * sizeof(T)));
    read(name, memory_type, begin, static_cast<int64_t>(out.size()), out.data());
  }
};

H5Reader::H5Reader(fs::path path) : path_(std::move(path)) {
  const std::lock_guard lock(library);
  auto impl = std::make_unique<Impl>(path_);  // on an error it is destroyed before the lock
  silence();
  std::error_code error;
  if (!fs::is_regular_file(path_, error))
    impl->fail((error ? error.message() : "is not a file") + "; a corpus is made with spt prepare");
  const auto bytes = fs::file_size(path_, error);
  if (error) impl->fail(error.message());
  impl->file_bytes = static_cast<int64_t>(bytes);
  const Handle access = file_access();
  impl->check(H5Pset_file_locking(access, false, true), "turning file locking off");
  impl->file = Handle(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, access), H5Fclose);
  if (!impl->file.valid())
    impl->fail(
        fmt::format("is not an HDF5 file, or is truncated or unreadable ({}); make it with spt prepare", reason()));
  impl_ = std::move(impl);
}

H5Reader::~H5Reader() {
  const std::lock_guard lock(library);
  impl_.reset();
}

bool H5Reader::has_attribute(const std::string& name) const {
  const std::lock_guard lock(library);
  return impl_->check(H5Aexists(impl_->file, name.c_str()), "looking for attribute " + name) > 0;
}

std::string H5Reader::text_attribute(const std::string& name) const {
  const std::lock_guard lock(library);
  const std::string doing = "reading attribute " + name;
  const Handle attribute = impl_->attribute(name);
  const Handle type = impl_->hold(H5Aget_type(attribute), H5Tclose, doing);
  const Handle space = impl_->hold(H5Aget_space(attribute), H5Sclose, doing);
  const size_t width = H5Tget_size(type);
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 || H5Sget_simple_extent_npoints(space) != 1 ||
      width > kMaxAttributeBytes)
    impl_->fail(fmt::format("attribute {} must be one text of fixed width", name));
  std::string text(width, '\0');
  impl_->check(H5Aread(attribute, type, text.data()), doing);
  text.resize(strnlen(text.data(), text.size()));
  return text;
}

int64_t H5Reader::int_attribute(const std::string& name) const {
  const std::lock_guard lock(library);
  const std::string doing = "reading attribute " + name;
  const Handle attribute = impl_->attribute(name);
  const Handle type = impl_->hold(H5Aget_type(attribute), H5Tclose, doing);
  const Handle space = impl_->hold(H5Aget_space(attribute), H5Sclose, doing);
  if (H5Tget_class(type) != H5T_INTEGER || H5Sget_simple_extent_npoints(space) != 1)
    impl_->fail(fmt::format("attribute {} must be one integer", name));
  int64_t value = 0;
  impl_->check(H5Aread(attribute, H5T_NATIVE_INT64, &value), doing);
  return value;
}

bool H5Reader::has_data_set(const std::string& name) const {
  const std::lock_guard lock(library);
  return impl_->check(H5Lexists(impl_->file, name.c_str(), H5P_DEFAULT), "looking for data set " + name) > 0;
}

int64_t H5Reader::size(const std::string& name) const {
  const std::lock_guard lock(library);
  return impl_->set(name).size;
}

void H5Reader::read(const std::string& name, int64_t begin, std::span<int32_t> out) const {
  const std::lock_guard lock(library);
  impl_->read_integers(name, H5T_NATIVE_INT32, begin, out);
}
void H5Reader::read(const std::string& name, int64_t begin, std::span<uint8_t> out) const {
  const std::lock_guard lock(library);
  impl_->read_integers(name, H5T_NATIVE_UINT8, begin, out);
}
void H5Reader::read(const std::string& name, int64_t begin, std::span<int64_t> out) const {
  const std::lock_guard lock(library);
  impl_->read_integers(name, H5T_NATIVE_INT64, begin, out);
}

std::vector<std::string> H5Reader::read_texts(const std::string& name, int64_t begin, int64_t count) const {
  const std::lock_guard lock(library);
  const Impl::Set& from = impl_->set(name);
  if (from.kind != H5T_STRING || H5Tis_variable_str(from.type) != 0 || from.width > static_cast<int64_t>(kMaxTextBytes))
    impl_->fail(fmt::format("data set {} must hold texts of fixed width, at most {} bytes", name, kMaxTextBytes));
  const size_t width = static_cast<size_t>(from.width);
  std::vector<char> bytes(width * static_cast<size_t>(std::clamp<int64_t>(count, 0, from.size)));
  impl_->read(name, from.type, begin, count, bytes.data());
  std::vector<std::string> texts;
  for (size_t i = 0; i < bytes.size(); i += width)
    texts.emplace_back(bytes.data() + i, strnlen(bytes.data() + i, width));
  return texts;
}

std::string hdf5_version() {
  const std::lock_guard lock(library);
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace spt
