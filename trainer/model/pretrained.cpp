#include "trainer/model/pretrained.h"

#include <algorithm>
#include <set>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/stop.h"
#include "data/safetensors.h"

namespace spt {
namespace {

constexpr int64_t kDrawnAtOnce = int64_t{1} << 22;  // random numbers: 16 MiB

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// Names of old checkpoints that hold no weights.
bool is_buffer(const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq");
}

std::string first_few(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 5);
  const std::string list =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  return names.size() > shown ? fmt::format("{} and {} more", list, names.size() - shown) : list;
}

// FNV-1a: any fixed mixing will do, but it must be the same on every machine.
uint64_t seed_of(uint64_t seed, const std::string& name) {
  uint64_t hash = 14695981039346656037ULL ^ seed;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

// Applies f(shard, local view of it) to every checkpoint tensor of this rank.
template <class F>
void for_each_shard(CausalLm& model, F&& f) {
  at::NoGradGuard no_grad;
  for (const Parameter& parameter : model.parameters().list())
    for (size_t i = 0; i < parameter.shards.size(); ++i)
      if (parameter.shards[i].numel() > 0) f(parameter.shards[i], parameter.part(i, parameter.value.detach()));
}

// Tied embeddings are stored once, under either name.
std::string stored_name(const std::string& name, const CausalLm& model, const SafetensorsReader& reader) {
  return model.config().tied_embeddings && name == kEmbedding && !reader.has(name) ? kHead : name;
}

// Whichever of the two were taken, one who knows the other would get another model.
void check_tied(const SafetensorsReader& reader, const std::filesystem::path& folder) {
  if (!reader.has(kEmbedding) || !reader.has(kHead)) return;
  constexpr int64_t kRows = 4096;  // at once
  const std::vector<int64_t> shape = reader.shape(kEmbedding);
  bool same = reader.shape(kHead) == shape;
  for (int64_t begin = 0; same && begin < shape[0]; begin += kRows) {
    const int64_t end = std::min(begin + kRows, shape[0]);
    at::Tensor embedding = at::empty({end - begin, shape[1]}, at::kFloat), head = at::empty_like(embedding);
    reader.read(kEmbedding, 0, begin, end, embedding);
    reader.read(kHead, 0, begin, end, head);
    same = embedding.equal(head);
  }
  if (!same)
    throw BadInput(fmt::format("{}: config.json ties the embeddings (tie_word_embeddings), yet {} and {} differ",
                               folder.string(), kEmbedding, kHead));
}

void check(const CausalLm& model, const SafetensorsReader& reader, const std::filesystem::path& folder) {
  std::vector<std::string> missing, unknown, misshapen;
  std::set<std::string> expected;
  if (model.config().tied_embeddings) expected.insert({kEmbedding, kHead});
  for (const Parameter& parameter : model.parameters().list())
    for (const Shard& shard : parameter.shards) {
      const std::string name = stored_name(shard.name, model, reader);
      expected.insert(name);
      if (!reader.has(name))
        missing.push_back(name);
      else if (reader.shape(name) != shard.global)
        misshapen.push_back(fmt::format("{} is [{}], config.json says [{}]", name, fmt::join(reader.shape(name), ", "),
                                        fmt::join(shard.global, ", ")));
      else if (!c10::isFloatingType(reader.dtype(name)))
        misshapen.push_back(
            fmt::format("{} has the type {}, expected floating point", name, c10::toString(reader.dtype(name))));
    }
  for (const std::string& name : reader.names())
    if (!expected.contains(name) && !is_buffer(name)) unknown.push_back(name);
  const auto refuse = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) throw BadInput(fmt::format("{}: {}: {}", folder.string(), what, first_few(names)));
  };
  refuse("weights are missing", missing);
  refuse("weights of another shape or type", misshapen);
  refuse("weights that this architecture does not have (they would change the model's results)", unknown);
}

}  // namespace

void check_pretrained(const CausalLm& model, const std::filesystem::path& folder) {
  const SafetensorsReader reader(folder);
  check(model, reader, folder);
  if (model.config().tied_embeddings) check_tied(reader, folder);
}

namespace {

void load_slices(CausalLm& model, const std::filesystem::path& folder, Communicator* dp) {
  const SafetensorsReader reader(folder);
  check(model, reader, folder);
  const int ranks = dp != nullptr ? dp->size() : 1, rank = dp != nullptr ? dp->rank() : 0;
  // As many as there are ranks, so that all read at the same time; then each is broadcast by its reader.
  std::vector<at::Tensor> parts;
  const auto broadcast = [&] {
    for (size_t reader_of = 0; reader_of < parts.size() && ranks > 1; ++reader_of)
      dp->broadcast(parts[reader_of], static_cast<int>(reader_of));
    parts.clear();
  };
  for_each_shard(model, [&](const Shard& shard, const at::Tensor& part) {
    stop_if_requested("while loading weights");
    parts.push_back(part);
    if (static_cast<int>(parts.size()) == rank + 1) {
      at::Tensor host = part.is_cpu() ? part : at::empty(part.sizes(), part.options().device(at::kCPU));
      reader.read(stored_name(shard.name, model, reader), shard.dim, shard.begin, shard.end, host);
      if (!part.is_cpu()) part.copy_(host);
    }
    if (static_cast<int>(parts.size()) == ranks) broadcast();
  });
  broadcast();
}

}  // namespace

void load_pretrained(CausalLm& model, const std::filesystem::path& folder, Communicator& dp) {
  load_slices(model, folder, &dp);
}

void load_pretrained(CausalLm& model, const std::filesystem::path& folder) {
  load_slices(model, folder, nullptr);
}

void init_random(CausalLm& model, uint64_t seed) {
  for_each_shard(model, [&](const Shard& shard, const at::Tensor& part) {
    if (shard.global.size() == 1) {
      part.fill_(1.0);
      return;
    }
    auto generator = at::make_generator<at::CPUGeneratorImpl>(seed_of(seed, shard.name));
    // A stretch of rows after the other: what is drawn hangs on the whole matrix, not on the layout.
    const int64_t rows = shard.global[0], columns = shard.global[1];
    const auto held = [&](int64_t dim, int64_t size) {
      return shard.dim == dim ? std::pair(shard.begin, shard.end) : std::pair(int64_t{0}, size);
    };
    const auto [held_begin, held_end] = held(0, rows);
    const auto [left, right] = held(1, columns);
    const int64_t most = std::max<int64_t>(1, kDrawnAtOnce / columns);
    for (int64_t first = 0; first < rows; first += most) {
      const int64_t last = std::min(rows, first + most);
      const at::Tensor drawn =
          at::empty({last - first, columns}, at::kFloat).normal_(0.0, model.config().initializer_range, generator);
      const int64_t begin = std::max(first, held_begin), end = std::min(last, held_end);
      if (begin < end)
        part.narrow(0, begin - held_begin, end - begin)
            .copy_(drawn.narrow(0, begin - first, end - begin).narrow(1, left, right - left));
    }
  });
}

at::Tensor gather_shard(const at::Tensor& part, const Shard& shard, Communicator& tp) {
  if (shard.replicated() || tp.size() == 1) return part;
  const int64_t size = shard.global[static_cast<size_t>(shard.dim)];
  const int64_t rows = (size + tp.size() - 1) / tp.size();
  const at::Tensor cut_first = part.movedim(shard.dim, 0);
  std::vector<int64_t> shape = cut_first.sizes().vec();
  shape[0] = rows;
  at::Tensor mine = at::zeros(shape, part.options());
  mine.narrow(0, 0, cut_first.size(0)).copy_(cut_first);
  shape[0] = rows * tp.size();
  at::Tensor all = at::empty(shape, part.options());
  tp.all_gather(all, mine);
  return all.narrow(0, 0, size).movedim(0, shard.dim).contiguous();
}

}  // namespace spt
