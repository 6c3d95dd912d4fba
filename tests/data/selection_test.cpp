#include "data/selection.h"

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace spt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Candidate> candidates(size_t count, uint64_t seed = 1) {
  std::vector<Candidate> made;
  for (size_t i = 0; i < count; ++i) made.push_back({text_hash(std::to_string(i + 1), seed), 0, true});
  return made;
}

// What choose makes of records, one weight 1.
std::vector<Choice> choose_from(const std::vector<Candidate>& records, SelectionConfig config) {
  if (config.weights.empty()) config.weights = {1.0};
  return choose(records, config);
}

std::vector<size_t> trained_on(const std::vector<Choice>& choices) {
  std::vector<size_t> chosen;
  for (size_t i = 0; i < choices.size(); ++i)
    if (choices[i].copies > 0) chosen.push_back(i);
  return chosen;
}

std::vector<size_t> held_out(const std::vector<Choice>& choices) {
  std::vector<size_t> chosen;
  for (size_t i = 0; i < choices.size(); ++i)
    if (choices[i].held_out) chosen.push_back(i);
  return chosen;
}

template <class Action>
std::string error(Action action) {
  try {
    action();
  } catch (const BadInput& bad) {
    return bad.what();
  }
  return "no error";
}

SelectionConfig random_choice(const std::string& amount) {
  SelectionConfig config;
  config.random = parse_amount("--select random", amount);
  return config;
}

TEST(Select, WithoutAnOption_TakesEachRecordOnce) {
  const auto choices = choose_from(candidates(5), {});
  EXPECT_THAT(trained_on(choices), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_TRUE(std::all_of(choices.begin(), choices.end(), [](const Choice& c) { return c.copies == 1; }));
}

TEST(Select, Random_IsNestedForOneSeedAndAnotherForAnother) {
  const auto records = candidates(1000);
  const auto few = trained_on(choose_from(records, random_choice("250")));
  const auto half = trained_on(choose_from(records, random_choice("0.5")));
  EXPECT_EQ(few.size(), 250u);
  EXPECT_EQ(half.size(), 500u);
  EXPECT_TRUE(std::includes(half.begin(), half.end(), few.begin(), few.end()));
  EXPECT_NE(few, trained_on(choose_from(candidates(1000, 2), random_choice("250"))));
}

// What is chosen hangs on text_hash: computed by hand from its definition.
TEST(Select, Random_StaysWhatItWas) {
  EXPECT_THAT(trained_on(choose_from(candidates(12), random_choice("4"))), ElementsAre(0, 2, 7, 8));
}

TEST(Select, HeldOut_IsTheSameWhateverIsChosenOfTheRest) {
  const auto records = candidates(1000);
  SelectionConfig config;
  config.valid = parse_amount("--valid", "100");
  const auto all = choose_from(records, config);
  config.random = parse_amount("--select random", "250");
  const auto some = choose_from(records, config);
  EXPECT_EQ(held_out(all).size(), 100u);
  EXPECT_EQ(held_out(all), held_out(some));
  EXPECT_EQ(trained_on(all).size(), 900u);
  EXPECT_EQ(trained_on(some).size(), 250u);
  for (const size_t i : held_out(some)) EXPECT_EQ(some[i].copies, 0);
  // Independent of what --select takes: else the held-out ones would be those that 100 of 1,000 are.
  EXPECT_NE(held_out(all), trained_on(choose_from(records, random_choice("100"))));
}

TEST(Select, First_TakesTheBeginningOfWhatIsLeft) {
  auto records = candidates(6);
  records[1].eligible = false;
  SelectionConfig config;
  config.first = 3;
  EXPECT_THAT(trained_on(choose_from(records, config)), ElementsAre(0, 2, 3));
}

TEST(Select, Weights_MakeCopiesOfAnInputsRecords) {
  auto records = candidates(8);
  for (size_t i = 4; i < 8; ++i) records[i].input = 1;
  SelectionConfig config;
  config.weights = {2.5, 0.5};
  const auto choices = choose_from(records, config);
  std::vector<int> first, second;
  for (size_t i = 0; i < 8; ++i) (i < 4 ? first : second).push_back(choices[i].copies);
  EXPECT_THAT(first, ::testing::UnorderedElementsAre(2, 2, 3, 3));
  EXPECT_THAT(second, ::testing::UnorderedElementsAre(0, 0, 1, 1));
}

TEST(Select, Options_AreReadAndWrittenDown) {
  SelectionConfig config;
  config.seed = 7;
  config.weights = {1.0, 0.5};
  for (const char* text : {"source=a", "source=", "first=20", "random=0.25"}) add_select(config, text);
  config.valid = parse_amount("--valid", "10");
  EXPECT_THAT(config.sources, ElementsAre("a", ""));
  EXPECT_EQ(config.to_json(),
            R"({"seed":7,"weights":[1.0,0.5],"sources":["a",""],"valid":10,"first":20,"random":0.25})");
}

TEST(Select, BadOptions_AreRefusedByName) {
  for (const char* text : {"250", "first=0", "first=0.5", "first=", "random=1.5", "random=0", "random=-3", "random=x",
                           "source", "kind=a"}) {
    SelectionConfig config;
    EXPECT_THAT(error([&] { add_select(config, text); }), HasSubstr("--select")) << text;
  }
  SelectionConfig config;
  add_select(config, "first=2");
  EXPECT_THAT(error([&] { add_select(config, "first=3"); }), HasSubstr("twice"));
}

TEST(Select, MoreThanThereAre_IsRefused) {
  EXPECT_THAT(error([] { choose_from(candidates(5), random_choice("6")); }),
              HasSubstr("--select random asks for 6 records, there are 5"));
  SelectionConfig config;
  config.first = 9;
  EXPECT_THAT(error([&] { choose_from(candidates(5), config); }), HasSubstr("--select first asks for 9"));
  for (const char* amount : {"5", "6", "0.01"}) {
    SelectionConfig valid;
    valid.valid = parse_amount("--valid", amount);
    EXPECT_THAT(error([&] { choose_from(candidates(5), valid); }), HasSubstr("--valid asks for")) << amount;
  }
  for (const double weight : {0.0, -1.0, 1001.0, std::nan("")}) {
    SelectionConfig weighted;
    weighted.weights = {weight};
    EXPECT_THAT(error([&] { choose_from(candidates(5), weighted); }), HasSubstr("--weight is")) << weight;
  }
}

TEST(ShuffledRoles, NobodyKeepsTheOwnAndEachIsGivenOnce) {
  const auto records = candidates(100);
  SelectionConfig config;
  config.valid = parse_amount("--valid", "10");
  config.random = parse_amount("--select random", "50");
  const auto choices = choose_from(records, config);
  const auto giver = shuffle_roles(records, choices);
  std::vector<size_t> takers, givers;
  for (size_t i = 0; i < records.size(); ++i) {
    if (choices[i].copies == 0 && !choices[i].held_out) continue;
    EXPECT_NE(giver[i], i);
    takers.push_back(i);
    givers.push_back(giver[i]);
  }
  std::sort(givers.begin(), givers.end());
  EXPECT_EQ(takers.size(), 60u);
  EXPECT_EQ(givers, takers);
  EXPECT_THAT(error([&] { shuffle_roles(candidates(1), choose_from(candidates(1), {})); }), HasSubstr("at least 2"));
}

}  // namespace
}  // namespace spt
