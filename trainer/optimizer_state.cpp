#include "trainer/optimizer_state.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/safetensors.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A stretch of one shard that a rank owns. Buckets hold whole parameters, so a shard has one at most.
struct Piece {
  const Shard* shard;
  int64_t from, to;  // of the shard's local elements
  int64_t at;        // where it begins in the rank's state
};

std::vector<Piece> pieces_of(const Parameters& parameters, const ZeroAdamW& optimizer) {
  std::vector<Piece> pieces;
  for (const Parameter& parameter : parameters.list())
    for (size_t i = 0; i < parameter.shards.size(); ++i) {
      const Shard& shard = parameter.shards[i];
      const int64_t start = parameter.offset + parameter.shard_offset(i);
      for (const Owned& owned : optimizer.owned()) {
        const int64_t from = std::max<int64_t>(owned.begin - start, 0);
        const int64_t to = std::min(owned.begin + owned.length - start, shard.numel());
        if (from < to) pieces.push_back({&shard, from, to, owned.at + start + from - owned.begin});
      }
    }
  return pieces;
}

struct Part {
  const char* name;
  AdamWState state;
};
std::vector<Part> parts_of(const ZeroAdamW& optimizer) {
  std::vector<Part> parts{{"first_moment", AdamWState::kFirstMoment}, {"second_moment", AdamWState::kSecondMoment}};
  if (optimizer.has_master()) parts.push_back({"master", AdamWState::kMaster});
  return parts;
}

// Calls copy(offset in a, offset in b, length) for every stretch that both cover. Both are in ascending order.
void for_each_overlap(const std::vector<Run>& a, const std::vector<Run>& b,
                      const std::function<void(int64_t, int64_t, int64_t)>& copy) {
  size_t i = 0, j = 0;
  int64_t a_offset = 0, b_offset = 0;
  while (i < a.size() && j < b.size()) {
    const int64_t begin = std::max(a[i].begin, b[j].begin);
    const int64_t a_end = a[i].begin + a[i].length, b_end = b[j].begin + b[j].length;
    const int64_t end = std::min(a_end, b_end);
    if (begin < end) copy(a_offset + begin - a[i].begin, b_offset + begin - b[j].begin, end - begin);
    if (a_end <= b_end)
      a_offset += a[i++].length;
    else
      b_offset += b[j++].length;
  }
}

// A stored piece, read when first needed.
struct StoredPiece {
  const SafetensorsReader* file;
  Shard shard;
  int64_t from, to;

  at::Tensor read(const char* part) const {
    at::Tensor values = at::empty({to - from}, at::kFloat);
    file->read(fmt::format("{}/{}", part, shard.name), -1, 0, 0, values);
    return values;
  }
};

}  // namespace

std::vector<Run> runs_of(const Shard& shard, int64_t from, int64_t to) {
  if (from >= to) return {};
  const int64_t rows = shard.global[0];
  const int64_t whole = shard.global.size() > 1 ? shard.global[1] : 1;
  if (shard.dim <= 0) return {{(shard.replicated() ? 0 : shard.begin * whole) + from, to - from}};
  // Columns: one run a row.
  const int64_t width = shard.end - shard.begin;
  std::vector<Run> runs;
  for (int64_t row = from / width; row < rows && row * width < to; ++row) {
    const int64_t first = std::max(from, row * width), last = std::min(to, (row + 1) * width);
    runs.push_back({row * whole + shard.begin + first - row * width, last - first});
  }
  return runs;
}

std::vector<Segment> segments_of(const Parameters& parameters, int tp_size) {
  std::vector<Segment> segments;
  for (const Parameter& parameter : parameters.list())
    segments.push_back({parameter.offset, parameter.offset + parameter.numel(), parameter.is_matrix(),
                        parameter.shards[0].replicated() ? 1.0 / tp_size : 1.0});
  return segments;
}

std::unique_ptr<ZeroAdamW> make_optimizer(Parameters& parameters, const AdamWConfig& config, const Mesh& mesh) {
  return std::make_unique<ZeroAdamW>(parameters.values(), parameters.buckets(),
                                     segments_of(parameters, mesh.tp->size()), config, *mesh.dp, mesh.world);
}

void save_optimizer_state(const fs::path& folder, const Parameters& parameters, const ZeroAdamW& optimizer, int dp_rank,
                          int tp_rank) {
  json index = json::object();
  std::vector<Piece> pieces = pieces_of(parameters, optimizer);
  std::erase_if(pieces, [&](const Piece& piece) { return piece.shard->replicated() && tp_rank != 0; });
  for (const Piece& piece : pieces)
    index[piece.shard->name] = {piece.shard->dim, piece.shard->begin, piece.shard->end, piece.from, piece.to};
  const std::vector<Part> parts = parts_of(optimizer);
  std::vector<SafetensorsEntry> entries;
  for (const Part& part : parts)
    for (const Piece& piece : pieces)
      entries.push_back({fmt::format("{}/{}", part.name, piece.shard->name), at::kFloat, {piece.to - piece.from}});
  SafetensorsWriter writer(folder / fmt::format("dp-{:04}-tp-{:04}.safetensors", dp_rank, tp_rank), entries,
                           {{"format", "spt-optimizer"}, {"pieces", index.dump()}});
  for (const Part& part : parts)
    for (const Piece& piece : pieces) writer.write(optimizer.state(part.state, piece.at, piece.to - piece.from).cpu());
  writer.commit();
}

void load_optimizer_state(const fs::path& folder, const Parameters& parameters, ZeroAdamW& optimizer) {
  std::vector<std::unique_ptr<SafetensorsReader>> files;
  std::multimap<std::string, StoredPiece> stored;
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const Parameter& parameter : parameters.list())
    for (const Shard& shard : parameter.shards) shapes[shard.name] = shard.global;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const SafetensorsReader& file = *files.emplace_back(std::make_unique<SafetensorsReader>(entry.path()));
    const auto found = file.metadata().find("pieces");
    const json index = found == file.metadata().end() ? json() : json::parse(found->second, nullptr, false);
    if (!index.is_object()) throw BadInput(fmt::format("{}: not a file of optimizer state", entry.path().string()));
    for (const auto& [name, numbers] : index.items()) {
      if (!shapes.contains(name))
        throw BadInput(fmt::format("{}: {} is no weight of this model", entry.path().string(), name));
      const auto n = numbers.get<std::vector<int64_t>>();
      stored.emplace(name, StoredPiece{&file, Shard{name, shapes[name], n.at(0), n.at(1), n.at(2)}, n.at(3), n.at(4)});
    }
  }

  for (const Part& part : parts_of(optimizer)) {
    for (const Piece& piece : pieces_of(parameters, optimizer)) {
      const std::vector<Run> wanted = runs_of(*piece.shard, piece.from, piece.to);
      const at::Tensor elements = at::empty({piece.to - piece.from}, at::kFloat);
      float* out = elements.data_ptr<float>();
      int64_t filled = 0;
      const auto [first, last] = stored.equal_range(piece.shard->name);
      for (auto candidate = first; candidate != last; ++candidate) {
        const StoredPiece& there = candidate->second;
        at::Tensor values;
        for_each_overlap(wanted, runs_of(there.shard, there.from, there.to),
                         [&](int64_t mine, int64_t theirs, int64_t length) {
                           if (!values.defined()) values = there.read(part.name);
                           std::copy_n(values.data_ptr<float>() + theirs, length, out + mine);
                           filled += length;
                         });
      }
      if (filled != piece.to - piece.from)
        throw BadInput(fmt::format("{}: {} of {} has {} of {} elements", folder.string(), part.name, piece.shard->name,
                                   filled, piece.to - piece.from));
      optimizer.set_state(part.state, piece.at, elements);
    }
  }
}

}  // namespace spt
