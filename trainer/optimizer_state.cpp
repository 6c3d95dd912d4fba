#include "trainer/optimizer_state.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/stop.h"
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

// What the files that were opened hold.
class StoredPieces {
 public:
  explicit StoredPieces(const Parameters& parameters) {
    for (const Parameter& parameter : parameters.list())
      for (const Shard& shard : parameter.shards) shapes_[shard.name] = shard.global;
  }

  void open(const fs::path& path) {
    if (files_.contains(path)) return;
    const SafetensorsReader& file = *(files_[path] = std::make_unique<SafetensorsReader>(path));
    const auto found = file.metadata().find("pieces");
    const json index = found == file.metadata().end() ? json() : json::parse(found->second, nullptr, false);
    if (!index.is_object()) throw BadInput(fmt::format("{}: not a file of optimizer state", path.string()));
    for (const auto& [name, numbers] : index.items()) {
      if (!shapes_.contains(name))
        throw BadInput(fmt::format("{}: {} is no weight of this model", path.string(), name));
      const auto n = numbers.get<std::vector<int64_t>>();
      pieces_.emplace(name,
                      StoredPiece{&file, Shard{name, shapes_[name], n.at(0), n.at(1), n.at(2)}, n.at(3), n.at(4)});
    }
  }

  // Calls copy(stored piece, offset in `piece`, offset in the stored one, length) for all that is stored of `piece`;
  // returns how many elements that are.
  int64_t find(const Piece& piece,
               const std::function<void(const StoredPiece&, int64_t, int64_t, int64_t)>& copy) const {
    const std::vector<Run> wanted = runs_of(*piece.shard, piece.from, piece.to);
    int64_t elements = 0;
    const auto [first, last] = pieces_.equal_range(piece.shard->name);
    for (auto there = first; there != last; ++there)
      for_each_overlap(wanted, runs_of(there->second.shard, there->second.from, there->second.to),
                       [&](int64_t mine, int64_t theirs, int64_t length) {
                         copy(there->second, mine, theirs, length);
                         elements += length;
                       });
    return elements;
  }
  bool covers(const std::vector<Piece>& pieces) const {
    return std::all_of(pieces.begin(), pieces.end(),
                       [&](const Piece& piece) { return find(piece, [](const auto&...) {}) == piece.to - piece.from; });
  }

 private:
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::map<fs::path, std::unique_ptr<SafetensorsReader>> files_;
  std::multimap<std::string, StoredPiece> pieces_;
};

std::string state_file(int dp_rank, int tp_rank) {
  return fmt::format("dp-{:04}-tp-{:04}.safetensors", dp_rank, tp_rank);
}

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

std::unique_ptr<ZeroAdamW> make_optimizer(Parameters& parameters, const AdamWConfig& config, const Mesh& mesh,
                                          bool exact_norm) {
  return std::make_unique<ZeroAdamW>(parameters.values(), parameters.buckets(),
                                     segments_of(parameters, mesh.tp->size()), config, *mesh.dp, mesh.world,
                                     exact_norm);
}

void save_optimizer_state(CheckpointWriter& writer, const std::string& folder, const Parameters& parameters,
                          const ZeroAdamW& optimizer, int dp_rank, int tp_rank) {
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
  writer.begin(folder + state_file(dp_rank, tp_rank), entries, {{"format", "spt-optimizer"}, {"pieces", index.dump()}});
  for (const Part& part : parts)
    for (const Piece& piece : pieces) writer.write(optimizer.state(part.state, piece.at, piece.to - piece.from));
}

int64_t saved_state_bytes(int64_t owned, at::ScalarType dtype) {
  return owned * (dtype == at::kFloat ? 8 : 12);
}

void load_optimizer_state(const fs::path& folder, const Parameters& parameters, ZeroAdamW& optimizer, int dp_rank,
                          int tp_rank) {
  const std::vector<Piece> pieces = pieces_of(parameters, optimizer);
  StoredPieces stored(parameters);
  for (const int tp : {tp_rank, 0})  // where tp ranks hold the same, the first one's file has it
    if (const fs::path own = folder / state_file(dp_rank, tp); fs::exists(own)) stored.open(own);
  if (!stored.covers(pieces))
    for (const auto& entry : fs::directory_iterator(folder)) stored.open(entry.path());

  for (const Part& part : parts_of(optimizer)) {
    for (const Piece& piece : pieces) {
      stop_if_requested("while loading the optimizer's state");
      const at::Tensor elements = at::empty({piece.to - piece.from}, at::kFloat);
      const StoredPiece* source = nullptr;
      at::Tensor values;  // of it
      const int64_t filled =
          stored.find(piece, [&](const StoredPiece& there, int64_t mine, int64_t theirs, int64_t length) {
            if (source != &there) values = there.read(part.name);
            source = &there;
            std::copy_n(values.const_data_ptr<float>() + theirs, length, elements.mutable_data_ptr<float>() + mine);
          });
      if (filled != piece.to - piece.from)
        throw BadInput(fmt::format("{}: {} of {} has {} of {} elements", folder.string(), part.name, piece.shard->name,
                                   filled, piece.to - piece.from));
      optimizer.set_state(part.state, piece.at, elements);
    }
  }
}

}  // namespace spt
