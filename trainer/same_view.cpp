#include "trainer/same_view.h"

#include <algorithm>
#include <fstream>
#include <set>

#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "dist/text.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
constexpr uintmax_t kEnd = 1 << 20;

}  // namespace

void check_same_view(Runtime& runtime, const std::vector<Seen>& mine) {
  nlohmann::json hashes = nlohmann::json::array();
  for (const Seen& seen : mine) hashes.push_back(seen.hash);
  // What all see alike takes a rank the same however many there are.
  const bool differs = broadcast_text(runtime.host_world(), hashes.dump()) != hashes.dump();
  const at::Tensor any = at::full({}, int64_t{differs}, at::kLong);
  runtime.host_world().all_reduce(any, Reduce::kMax);
  if (any.item<int64_t>() == 0) return;
  const auto all = all_gather_text(runtime.host_world(), hashes.dump());
  std::string message;
  const auto roots = nlohmann::json::parse(all[0]);
  for (size_t i = 0; i < mine.size(); ++i) {
    std::set<std::string> hosts;
    for (size_t rank = 1; rank < all.size(); ++rank)
      if (nlohmann::json::parse(all[rank])[i] != roots[i]) hosts.insert(runtime.hosts()[rank]);
    if (!hosts.empty())
      message += fmt::format("{}host {} does not see the same {} as rank 0 on {}", message.empty() ? "" : "\n",
                             fmt::join(hosts, ", "), mine[i].what, runtime.hosts()[0]);
  }
  if (!message.empty())
    throw BadInput(
        message +
        "\nevery host needs the same files under the same path (a shared file system, or copies of the inputs; "
        "the run folder must be shared)");
}

std::string hash_file_ends(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) return "missing";
  std::ifstream file(path, std::ios::binary);
  std::string bytes(static_cast<size_t>(std::min(size, kEnd)), '\0');
  Sha256 hash;
  hash.update(std::to_string(size) + "\n");
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  hash.update(bytes);
  if (size > kEnd) {
    file.seekg(-static_cast<std::streamoff>(bytes.size()), std::ios::end);
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    hash.update(bytes);
  }
  return file ? hash.hex() : "unreadable";
}

std::string hash_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return "missing";
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (std::error_code unknown; entry->is_regular_file(unknown)) files.push_back(entry->path());
  if (error) return "unreadable";
  std::sort(files.begin(), files.end());
  Sha256 hash;
  for (const fs::path& file : files) hash.update(file.filename().string() + " " + hash_file_ends(file) + "\n");
  return hash.hex();
}

}  // namespace spt
