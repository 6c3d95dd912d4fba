#include "dist/text.h"

#include <algorithm>
#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

namespace spt {
namespace {

at::Tensor bytes_of(const std::string& text, int64_t length) {
  at::Tensor bytes = at::zeros({length}, at::kByte);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

std::string text_of(const at::Tensor& bytes, int64_t length) {
  return {static_cast<const char*>(bytes.data_ptr()), static_cast<size_t>(length)};
}

}  // namespace

std::vector<std::string> all_gather_text(Communicator& host, const std::string& mine) {
  at::Tensor lengths = at::empty({host.size()}, at::kLong);
  host.all_gather(lengths, at::full({1}, static_cast<int64_t>(mine.size()), at::kLong));
  const int64_t longest = std::max<int64_t>(1, lengths.max().item<int64_t>());
  at::Tensor all = at::empty({host.size() * longest}, at::kByte);
  host.all_gather(all, bytes_of(mine, longest));
  std::vector<std::string> texts;
  for (int rank = 0; rank < host.size(); ++rank)
    texts.push_back(text_of(all.narrow(0, rank * longest, longest), lengths[rank].item<int64_t>()));
  return texts;
}

std::string broadcast_text(Communicator& host, const std::string& roots, int root) {
  at::Tensor length = at::full({1}, static_cast<int64_t>(roots.size()), at::kLong);
  host.broadcast(length, root);
  const int64_t size = length.item<int64_t>();
  at::Tensor bytes = bytes_of(host.rank() == root ? roots : std::string(), std::max<int64_t>(1, size));
  host.broadcast(bytes, root);
  return text_of(bytes, size);
}

}  // namespace spt
