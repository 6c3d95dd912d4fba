// Which records become examples, how often, and which are held out. Chosen by id and seed alone, so the arms of a
// study, every tokenizer and every template get the same; and nested: the 250 of one seed are among its 500.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/text_hash.h"

namespace spt {

// So many records, or such a share of them (rounded).
struct Amount {
  std::optional<int64_t> count;  // else `share`
  double share = 0;

  int64_t of(int64_t records) const;
};
// "250" is a number, "0.25" a share. Throws BadInput naming `option` for others and for what is below 1 or no share.
Amount parse_amount(const std::string& option, const std::string& text);

struct SelectionConfig {
  uint64_t seed = 1;
  // In this order:
  std::vector<std::string> sources;  // only records of these; empty: of all
  std::optional<Amount> valid;       // so many of them are held out
  std::optional<int64_t> first;      // of the rest, the first so many
  std::optional<Amount> random;      // of those, so many by seed
  std::vector<double> weights;       // of inputs, in order; 2: each record twice, 0.5: half of them by seed

  std::string to_json() const;  // the corpus's attribute `selection`
};

// Adds one --select: source=NAME (again for more sources), first=N, random=N or random=SHARE. Throws BadInput.
void add_select(SelectionConfig& config, const std::string& text);

struct Candidate {
  uint64_t key = 0;      // text_hash(id, seed)
  size_t input = 0;      // index of its file
  bool eligible = true;  // of the sources, and with a role where that is asked for
};

struct Choice {
  int copies = 0;  // among the examples to train on
  bool held_out = false;
};

// One choice a candidate. Throws BadInput with the option when there are fewer than asked for, or none is left to train
// on.
std::vector<Choice> choose(const std::vector<Candidate>& candidates, const SelectionConfig& config);

// For each record taking part, in order, the index of another whose role it gets: each gives its role once. By seed;
// fewer than two throw BadInput.
std::vector<size_t> shuffle_roles(const std::vector<Candidate>& candidates, const std::vector<Choice>& choices);

}  // namespace spt
