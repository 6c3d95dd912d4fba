#include "data/selection.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fields.h"

namespace spt {
namespace {

constexpr double kMaxWeight = 1000;
constexpr uint64_t kHeldOutSalt = 0x68656C64'6F7574ULL;  // so that held out and chosen by seed are independent

// The `count` of `records` with the smallest keys, in any order.
std::vector<size_t> smallest(const std::vector<size_t>& records, const std::vector<Candidate>& candidates,
                             int64_t count, uint64_t salt = 0) {
  std::vector<size_t> order = records;
  const auto before = [&](size_t a, size_t b) {
    const uint64_t x = salt == 0 ? candidates[a].key : mix_bits(candidates[a].key ^ salt);
    const uint64_t y = salt == 0 ? candidates[b].key : mix_bits(candidates[b].key ^ salt);
    return x != y ? x < y : a < b;
  };
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(order.begin(), end, order.end(), before);
  order.erase(end, order.end());
  return order;
}

void require(const char* option, int64_t asked, int64_t found, const char* what) {
  if (asked > found) throw BadInput(fmt::format("{} asks for {} records, there are {} {}", option, asked, found, what));
}

}  // namespace

int64_t Amount::of(int64_t records) const {
  return count ? *count : std::llround(share * static_cast<double>(records));
}

Amount parse_amount(const std::string& option, const std::string& text) {
  Amount amount;
  int64_t count = 0;
  if (parse_scalar(text, count).empty() && count >= 1) {
    amount.count = count;
    return amount;
  }
  if (text.find('.') != std::string::npos && parse_scalar(text, amount.share).empty() && amount.share > 0 &&
      amount.share < 1)
    return amount;
  throw BadInput(
      fmt::format("{} is '{}', expected a number of records from 1 on, or a share between 0.0 and 1.0", option, text));
}

std::string SelectionConfig::to_json() const {
  nlohmann::ordered_json json = {{"seed", seed}, {"weights", weights}};
  const auto amount = [](const Amount& of) { return of.count ? nlohmann::json(*of.count) : nlohmann::json(of.share); };
  if (!sources.empty()) json["sources"] = sources;
  if (valid) json["valid"] = amount(*valid);
  if (first) json["first"] = *first;
  if (random) json["random"] = amount(*random);
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void add_select(SelectionConfig& config, const std::string& text) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals), value = equals == std::string::npos ? "" : text.substr(equals + 1);
  const auto once = [&](bool given) {
    if (given) throw BadInput(fmt::format("--select {}=… is given twice", key));
  };
  if (key == "source" && equals != std::string::npos) {
    config.sources.push_back(value);
  } else if (key == "first" && !value.empty()) {
    once(config.first.has_value());
    const Amount amount = parse_amount("--select first", value);
    if (!amount.count) throw BadInput(fmt::format("--select first is '{}', expected a number of records", value));
    config.first = amount.count;
  } else if (key == "random" && !value.empty()) {
    once(config.random.has_value());
    config.random = parse_amount("--select random", value);
  } else {
    throw BadInput(fmt::format("--select is '{}', expected source=NAME, first=N, random=N or random=SHARE", text));
  }
}

std::vector<Choice> choose(const std::vector<Candidate>& candidates, const SelectionConfig& config) {
  std::vector<Choice> choices(candidates.size());
  std::vector<size_t> left;
  for (size_t i = 0; i < candidates.size(); ++i)
    if (candidates[i].eligible) left.push_back(i);
  const auto count = [&left] { return static_cast<int64_t>(left.size()); };
  if (config.valid) {
    const int64_t held_out = config.valid->of(count());
    if (held_out < 1 || held_out >= count())
      throw BadInput(fmt::format("--valid asks for {} of {} records: at least 1 must be held out and 1 be left",
                                 held_out, count()));
    for (const size_t i : smallest(left, candidates, held_out, kHeldOutSalt)) choices[i].held_out = true;
    std::erase_if(left, [&](size_t i) { return choices[i].held_out; });
  }
  if (config.first) {
    require("--select first", *config.first, count(), "to choose from");
    left.resize(static_cast<size_t>(*config.first));
  }
  if (config.random) {
    const int64_t wanted = config.random->of(count());
    require("--select random", wanted, count(), "to choose from");
    left = smallest(left, candidates, wanted);
  }
  for (size_t input = 0; input < config.weights.size(); ++input) {
    const double weight = config.weights[input];
    if (!(weight > 0) || weight > kMaxWeight)
      throw BadInput(fmt::format("--weight is {}, expected above 0 and at most {}", weight, kMaxWeight));
    std::vector<size_t> own;
    for (const size_t i : left)
      if (candidates[i].input == input) own.push_back(i);
    const int whole = static_cast<int>(weight);
    const auto once_more = std::llround((weight - whole) * static_cast<double>(own.size()));
    for (const size_t i : own) choices[i].copies = whole;
    for (const size_t i : smallest(own, candidates, once_more)) ++choices[i].copies;
  }
  return choices;
}

std::vector<size_t> shuffle_roles(const std::vector<Candidate>& candidates, const std::vector<Choice>& choices) {
  std::vector<size_t> order;
  for (size_t i = 0; i < candidates.size(); ++i)
    if (choices[i].copies > 0 || choices[i].held_out) order.push_back(i);
  if (order.size() < 2) throw BadInput("--roles shuffled needs at least 2 records");
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return candidates[a].key != candidates[b].key ? candidates[a].key < candidates[b].key : a < b;
  });
  // A cycle through all of them: nobody keeps the own role.
  std::vector<size_t> giver(candidates.size());
  std::iota(giver.begin(), giver.end(), size_t{0});
  for (size_t i = 0; i < order.size(); ++i) giver[order[i]] = order[(i + 1) % order.size()];
  return giver;
}

}  // namespace spt
