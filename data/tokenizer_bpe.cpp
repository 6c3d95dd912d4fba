#include "data/tokenizer_bpe.h"

#include <algorithm>
#include <bit>
#include <queue>

#include <fmt/format.h>

#include "base/error.h"
#include "data/tokenizer_byte_level.h"
#include "data/utf8.h"

namespace spt {
namespace {

constexpr uint64_t kNoPair = ~0ULL;

uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Fibonacci hashing: the high bits of the product are well mixed.
size_t slot_of(uint64_t pair, size_t slots) {
  return (pair * 0x9E3779B97F4A7C15ULL >> 32) & (slots - 1);
}

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): its texts are moved from, through a binding
Bpe::Bpe(Vocabulary vocabulary, const Merges& merges, const Options& options)
    : fuse_unk_(options.fuse_unk), ignore_merges_(options.ignore_merges) {
  int64_t highest = -1;
  for (const auto& [token, id] : vocabulary) {
    if (id < 0 || id > kMaxId)
      throw BadInput(fmt::format("token '{}' has the id {}, allowed are 0 to {}", token, id, kMaxId));
    highest = std::max(highest, id);
  }
  tokens_.resize(static_cast<size_t>(highest + 1));
  ids_.reserve(vocabulary.size());
  for (auto& [token, id] : vocabulary) {
    std::string& slot = tokens_[static_cast<size_t>(id)];
    if (ids_.contains(token) || !slot.empty())
      throw BadInput(fmt::format("vocabulary: token '{}' or its id {} is given twice", token, id));
    slot = std::move(token);
    if (!slot.empty()) ids_.emplace(slot, static_cast<int32_t>(id));
  }
  if (options.unk) {
    unk_ = id(*options.unk);
    if (!unk_) throw BadInput(fmt::format("unk_token '{}' is not in the vocabulary", *options.unk));
  }
  if (options.byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) byte_ids_.push_back(id(fmt::format("<0x{:02X}>", byte)).value_or(-1));
  }
  cuts_at_marks_ = ids_.contains(kMark) && std::ranges::none_of(tokens_, has_mark_inside);
  merges_.assign(std::bit_ceil(2 * merges.size() + 2), Merge{kNoPair, 0, 0});
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string &left = merges[rank].first, &right = merges[rank].second;
    const auto known = [&](const std::string& token) {
      const auto found = id(token);
      if (found) return *found;
      throw BadInput(
          fmt::format("merge {} ('{}' and '{}'): '{}' is not in the vocabulary", rank + 1, left, right, token));
    };
    const int32_t left_id = known(left), right_id = known(right);
    add_merge(pair_of(left_id, right_id), static_cast<uint32_t>(rank), known(left + right));
  }
}

void Bpe::add_merge(uint64_t pair, uint32_t rank, int32_t joined) {
  size_t slot = slot_of(pair, merges_.size());
  while (merges_[slot].pair != kNoPair && merges_[slot].pair != pair) slot = (slot + 1) & (merges_.size() - 1);
  merges_[slot] = {pair, rank, joined};
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const uint64_t pair = pair_of(left, right);
  size_t slot = slot_of(pair, merges_.size());
  while (merges_[slot].pair != pair) {
    if (merges_[slot].pair == kNoPair) return nullptr;
    slot = (slot + 1) & (merges_.size() - 1);
  }
  return &merges_[slot];
}

std::optional<int32_t> Bpe::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<int32_t> Bpe::characters(std::string_view word) const {
  std::vector<int32_t> ids;
  ids.reserve(word.size());
  size_t unknown = 0;  // unknown characters not yet written
  const auto flush = [&] {
    if (unknown > 0 && unk_) ids.insert(ids.end(), fuse_unk_ ? 1 : unknown, *unk_);
    unknown = 0;
  };
  for (size_t length = 0; !word.empty(); word.remove_prefix(length)) {
    length = std::max<size_t>(1, utf8_length(word));
    const std::string_view character = word.substr(0, length);
    if (const auto known = id(character)) {
      flush();
      ids.push_back(*known);
      continue;
    }
    const auto byte_id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    if (!byte_ids_.empty() && std::ranges::all_of(character, [&](char byte) { return byte_id(byte) >= 0; })) {
      // A pending unknown token stays pending, as in Hugging Face's code: only vocabularies with some of the 256 bytes
      // show it.
      for (const char byte : character) ids.push_back(byte_id(byte));
      continue;
    }
    ++unknown;
  }
  flush();
  return ids;
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  if (ignore_merges_) {
    if (const auto whole = id(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  const auto merge = [this](std::string_view part, std::vector<int32_t>& out) { merge_word(part, out); };
  if (!cuts_at_marks_) return cache_.append(word, ids, merge);
  for (const std::string_view part : words_by_mark(word, false)) cache_.append(part, ids, merge);
}

void Bpe::encode_bytes(std::string_view word, std::vector<int32_t>& ids) const {
  cache_.append(word, ids, [this](std::string_view bytes, std::vector<int32_t>& out) {
    const std::string characters = bytes_to_characters(bytes);
    if (const auto whole = ignore_merges_ ? id(characters) : std::nullopt)
      out.push_back(*whole);
    else
      merge_word(characters, out);
  });
}

void Bpe::merge_word(std::string_view word, std::vector<int32_t>& ids) const {
  const std::vector<int32_t> start = characters(word);
  const int32_t count = static_cast<int32_t>(start.size());
  std::vector<Symbol> symbols(start.size());
  for (int32_t i = 0; i < count; ++i) symbols[i] = {start[i], i - 1, i + 1 < count ? i + 1 : -1};

  struct Candidate {
    uint32_t rank;
    int32_t left;                                   // index of the left symbol
    int32_t joined;                                 // id of the result
    bool operator<(const Candidate& other) const {  // the queue's top is the greatest: lowest rank, leftmost
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  std::vector<Candidate> candidates;
  const auto candidate = [&](int32_t left) -> std::optional<Candidate> {
    if (left < 0 || symbols[left].next < 0) return std::nullopt;
    const Merge* merge = find_merge(symbols[left].id, symbols[symbols[left].next].id);
    if (!merge) return std::nullopt;
    return Candidate{merge->rank, left, merge->joined};
  };
  for (int32_t i = 0; i < count; ++i)
    if (const auto found = candidate(i)) candidates.push_back(*found);
  std::priority_queue<Candidate, std::vector<Candidate>, std::less<>> queue(std::less<>(), std::move(candidates));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.left];
    if (left.id < 0) continue;
    const auto now = candidate(top.left);
    if (!now || now->joined != top.joined) continue;  // out of date
    Symbol& right = symbols[left.next];
    left.id = top.joined;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[left.next].previous = top.left;
    if (const auto found = candidate(left.previous)) queue.push(*found);
    if (const auto found = candidate(top.left)) queue.push(*found);
  }
  for (int32_t i = 0; i >= 0 && i < count; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace spt
