#include "base/fields.h"

#include <algorithm>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spt {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

enum class Backend { kAuto, kNccl, kMpi };
std::vector<std::pair<std::string, Backend>> enum_names(Backend) {
  return {{"auto", Backend::kAuto}, {"nccl", Backend::kNccl}, {"mpi", Backend::kMpi}};
}

struct Optimizer {
  double lr = 1e-5;
  std::vector<double> betas{0.9, 0.95};
  template <class F>
  void fields(F& f) {
    f("lr", lr, "peak learning rate");
    f("betas", betas, "decay of the moments");
  }
  void validate(std::vector<std::string>& errors) const {
    if (lr <= 0) errors.push_back(fmt::format("lr is {}, must be above 0", lr));
    if (betas.size() != 2) errors.push_back(fmt::format("betas has {} values, takes 2", betas.size()));
  }
};
struct Config {
  std::string dir;
  bool packing = true;
  int tp = 1;
  int64_t steps = 10;
  uint64_t seed = 1;
  std::optional<double> epochs;
  Backend backend = Backend::kAuto;
  std::vector<std::string> tasks{"gsm8k"};
  Optimizer optimizer;
  template <class F>
  void fields(F& f) {
    f("dir", dir, "run folder");
    f("packing", packing, "");
    f("tp", tp, "");
    f("steps", steps, "");
    f("seed", seed, "");
    f("epochs", epochs, "");
    f("backend", backend, "");
    f("tasks", tasks, "");
    f("optimizer", optimizer, "");
  }
  void validate(std::vector<std::string>& errors) const {
    if (tp > 8) errors.push_back("tp and the optimizer disagree");
  }
};

ConfigValue scalar(const std::string& text, const std::string& where = "c.yaml:1") {
  return {{text}, false, where};
}
ConfigValue list(const std::vector<std::string>& items) {
  return {items, true, "c.yaml:2"};
}
const ConfigValue kNull{{}, false, "c.yaml:3"};

std::string read_error(const ConfigValues& values) {
  try {
    read_fields<Config>(values);
  } catch (const BadInput& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(Fields, ReadingTakesDefaultsThenValues) {
  const Config config = read_fields<Config>({{"dir", scalar("runs/x")},
                                             {"packing", scalar("false")},
                                             {"tp", scalar("2")},
                                             {"seed", scalar("18446744073709551615")},
                                             {"epochs", scalar("0.5")},
                                             {"backend", scalar("mpi")},
                                             {"tasks", list({"a", "b"})},
                                             {"optimizer.lr", scalar("2e-5")}});
  EXPECT_EQ(config.dir, "runs/x");
  EXPECT_FALSE(config.packing);
  EXPECT_EQ(config.tp, 2);
  EXPECT_EQ(config.steps, 10);
  EXPECT_EQ(config.seed, UINT64_MAX);
  EXPECT_EQ(config.epochs, 0.5);
  EXPECT_EQ(config.backend, Backend::kMpi);
  EXPECT_THAT(config.tasks, ElementsAre("a", "b"));
  EXPECT_EQ(config.optimizer.lr, 2e-5);
  EXPECT_THAT(config.optimizer.betas, ElementsAre(0.9, 0.95));
}

TEST(Fields, AnUnknownKeyIsAnErrorWithTheNearestKnownOne) {
  EXPECT_EQ(read_error({{"optimizer.lrr", scalar("1", "c.yaml:7")}}),
            "c.yaml:7: unknown key optimizer.lrr, did you mean optimizer.lr?");
  EXPECT_THAT(read_error({{"optimiser.lr", scalar("1")}}), HasSubstr("did you mean optimizer.lr?"));
  EXPECT_THAT(read_error({{"lr", scalar("1")}}), HasSubstr("did you mean optimizer.lr?"));
  EXPECT_THAT(read_error({{"packings", scalar("1")}}), HasSubstr("did you mean packing?"));
  EXPECT_THAT(read_error({{"optimizer.lr.peak", scalar("1")}}), HasSubstr("unknown key optimizer.lr.peak"));
  EXPECT_THAT(read_error({{"optimizer.momentum", scalar("1")}}),
              AllOf(HasSubstr("unknown key"), Not(HasSubstr("mean"))));
}

TEST(Fields, AllErrorsAreReportedAtOnce) {
  const std::string error = read_error({{"tp", scalar("two", "c.yaml:4")},
                                        {"packing", scalar("yes", "c.yaml:5")},
                                        {"nonsense", scalar("1", "c.yaml:6")},
                                        {"optimizer.lr", scalar("fast", "command line")}});
  EXPECT_THAT(error, AllOf(HasSubstr("c.yaml:4: tp is 'two', expected a whole number"),
                           HasSubstr("c.yaml:5: packing is 'yes', expected true or false"),
                           HasSubstr("c.yaml:6: unknown key nonsense"),
                           HasSubstr("command line: optimizer.lr is 'fast', expected a number")));
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 3);
}

TEST(Fields, WrongTypesAreRefused) {
  for (const auto& [key, text] : std::vector<std::pair<std::string, std::string>>{{"tp", "2147483648"},
                                                                                  {"tp", "1.5"},
                                                                                  {"tp", ""},
                                                                                  {"tp", " 1"},
                                                                                  {"tp", "0x10"},
                                                                                  {"tp", "1e3"},
                                                                                  {"seed", "-1"},
                                                                                  {"steps", "1 "},
                                                                                  {"optimizer.lr", "nan"},
                                                                                  {"optimizer.lr", "inf"},
                                                                                  {"packing", "1"},
                                                                                  {"packing", ""},
                                                                                  {"packing", "True"},
                                                                                  {"optimizer.lr", "1e999"},
                                                                                  {"optimizer.lr", "1e-5x"}})
    EXPECT_THAT(read_error({{key, scalar(text)}}), HasSubstr("c.yaml:1: " + key + " is '" + text + "', expected"))
        << text;
  EXPECT_THAT(read_error({{"tp", list({"1"})}}), HasSubstr("c.yaml:2: tp takes one value, not a list"));
  EXPECT_THAT(read_error({{"tp", kNull}}), HasSubstr("c.yaml:3: tp takes one value, not null"));
  EXPECT_THAT(read_error({{"optimizer.betas", list({"0.9", "x"})}}),
              HasSubstr("optimizer.betas is 'x', expected a number"));
}

TEST(Fields, AnEnumListsItsNames) {
  EXPECT_EQ(read_error({{"backend", scalar("gloo")}}), "c.yaml:1: backend is 'gloo', expected one of auto, nccl, mpi");
}

TEST(Fields, AnOptionalMayBeNull) {
  EXPECT_FALSE(read_fields<Config>({{"epochs", kNull}}).epochs.has_value());
  EXPECT_EQ(read_fields<Config>({{"epochs", scalar("2")}}).epochs, 2.0);
  EXPECT_THAT(read_error({{"epochs", list({})}}), HasSubstr("takes one value, not a list"));
}

TEST(Fields, AListReplacesTheDefaultAndIsNeverNull) {
  EXPECT_THAT(read_fields<Config>({{"tasks", list({})}}).tasks, IsEmpty());
  EXPECT_THAT(read_fields<Config>({{"tasks", scalar("one")}}).tasks, ElementsAre("one"));
  EXPECT_THAT(read_error({{"tasks", kNull}}), HasSubstr("c.yaml:3: tasks takes a list, not null"));
}

TEST(Fields, ASectionMayBeEmptyButNoValue) {
  EXPECT_EQ(read_error({{"optimizer", kNull}}), "(no error)");
  EXPECT_THAT(read_error({{"optimizer", scalar("adam")}}), HasSubstr("c.yaml:1: optimizer is a section"));
  EXPECT_THAT(read_error({{"optimizer", list({})}}), HasSubstr("optimizer is a section"));
}

TEST(Fields, ValidateOfEveryStructIsCalledWithPlaceAndSection) {
  EXPECT_EQ(read_error({{"optimizer.lr", scalar("-1", "c.yaml:9")}, {"optimizer.betas", list({"0.9"})}}),
            "c.yaml:9: optimizer.lr is -1, must be above 0\nc.yaml:2: optimizer.betas has 1 values, takes 2");
  EXPECT_EQ(read_error({{"tp", scalar("9")}}), "c.yaml:1: tp and the optimizer disagree");
  // Values that could not be read would only give misleading messages.
  EXPECT_THAT(read_error({{"optimizer.lr", scalar("-1")}, {"tp", scalar("x")}}), Not(HasSubstr("above 0")));
}

TEST(Fields, DumpIsNestedYaml) {
  Config config;
  config.dir = "a \"b\"\n";
  EXPECT_EQ(dump_fields(config),
            "dir: \"a \\\"b\\\"\\n\"\npacking: true\ntp: 1\nsteps: 10\nseed: 1\nepochs: null\nbackend: auto\n"
            "tasks: [\"gsm8k\"]\noptimizer:\n  lr: 1e-05\n  betas: [0.9, 0.95]\n");
}

TEST(Fields, ListGivesKeyDefaultAndHelp) {
  const std::vector<FieldLister::Line> lines = list_fields<Config>();
  ASSERT_EQ(lines.size(), 10u);
  EXPECT_EQ(lines[0].key, "dir");
  EXPECT_EQ(lines[0].value, "\"\"");
  EXPECT_EQ(lines[0].help, "run folder");
  EXPECT_EQ(lines[8].key, "optimizer.lr");
  EXPECT_EQ(lines[8].value, "1e-05");
  EXPECT_EQ(lines[9].value, "[0.9, 0.95]");
}

TEST(Fields, DoublesAreWrittenAsTheShortestTextWithTheSameBits) {
  EXPECT_EQ(format_scalar(0.1), "0.1");
  for (const double value : {1e-5, 0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e22, 123456789012345680.0}) {
    double read = 7;
    EXPECT_EQ(parse_scalar(format_scalar(value), read), "");
    EXPECT_EQ(std::memcmp(&read, &value, sizeof value), 0) << value;
  }
}

struct Study {
  struct Part {
    int64_t size = 1;
    Named<ConfigValue> set;
    template <class F>
    void fields(F& f) {
      f("size", size, "of a part");
      f("set", set, "values");
    }
    void validate(std::vector<std::string>& errors) const {
      if (size < 1) errors.push_back(fmt::format("size is {}, must be at least 1", size));
    }
  };
  Named<ConfigValue> grid;
  Named<Named<ConfigValue>> points;
  Named<Part> parts;
  template <class F>
  void fields(F& f) {
    f("grid", grid, "every combination");
    f("points", points, "one of these");
    f("parts", parts, "");
  }
};

ConfigValue at_place(size_t place, ConfigValue value) {
  value.place = place;
  return value;
}
std::string study_error(const ConfigValues& values) {
  try {
    read_fields<Study>(values);
  } catch (const BadInput& error) {
    return error.what();
  }
  return "(no error)";
}

TEST(Fields, NamesOfASectionAreTheUsersInTheirOrder) {
  const Study study = read_fields<Study>({{"grid.optimizer.lr", at_place(5, list({"1", "2"}))},
                                          {"grid.a.b", at_place(6, list({"3"}))},
                                          {"points.role.data.train", at_place(1, scalar("r.h5"))},
                                          {"points.plain.data.train", at_place(3, scalar("p.h5"))},
                                          {"points.plain.data.valid", at_place(2, kNull)},
                                          {"points.bare", at_place(0, kNull)},
                                          {"parts.x.size", scalar("3")},
                                          {"parts.x.set.k.l", scalar("4")}});
  ASSERT_EQ(study.grid.size(), 2u);
  EXPECT_EQ(study.grid[0].first, "optimizer.lr");
  EXPECT_THAT(study.grid[0].second.items, ElementsAre("1", "2"));
  ASSERT_EQ(study.points.size(), 3u);
  EXPECT_EQ(study.points[0].first, "bare");
  EXPECT_THAT(study.points[0].second, IsEmpty());
  EXPECT_EQ(study.points[1].first, "role");
  EXPECT_EQ(study.points[2].first, "plain");
  EXPECT_EQ(study.points[2].second[0].first, "data.valid");
  ASSERT_EQ(study.parts.size(), 1u);
  EXPECT_EQ(study.parts[0].second.size, 3);
  EXPECT_EQ(study.parts[0].second.set[0].first, "k.l");
}

TEST(Fields, WhatStandsInANamedPartIsChecked) {
  EXPECT_THAT(study_error({{"parts.x.sise", scalar("3")}}), HasSubstr("c.yaml:1: unknown key parts.x.sise"));
  EXPECT_THAT(study_error({{"parts.x.size", scalar("0")}}), HasSubstr("c.yaml:1: parts.x.size is 0"));
  EXPECT_THAT(study_error({{"grid", scalar("3")}}), HasSubstr("c.yaml:1: grid is a section of names"));
  EXPECT_THAT(study_error({{"points.a", scalar("3")}}), HasSubstr("c.yaml:1: points.a is a section of names"));
}

TEST(Fields, NamedPartsAreWrittenAndListed) {
  Study study;
  study.points = {{"a", {{"k.l", list({"1", "x y"})}}}};
  study.parts = {{"p", {}}};
  EXPECT_EQ(dump_fields(study),
            "grid: {}\npoints:\n  a:\n    k.l: [1, \"x y\"]\nparts:\n  p:\n    size: 1\n    set: {}\n");
  std::vector<std::string> keys;
  for (const auto& line : list_fields<Study>()) keys.push_back(line.key);
  EXPECT_THAT(keys, ElementsAre("grid.KEY", "points.NAME.KEY", "parts.NAME.size", "parts.NAME.set.KEY"));
}

TEST(Fields, TypesAndUnitsAreToldForTheReference) {
  std::vector<std::string> types;
  for (const auto& line : list_fields<Study>()) types.push_back(line.type);
  EXPECT_THAT(types, ElementsAre("any", "any", "whole number", "any"));
  EXPECT_EQ(fields_detail::type_name(std::optional<double>()), "number, or null");
  EXPECT_EQ(fields_detail::type_name(std::vector<std::string>()), "[text, …]");
  EXPECT_EQ(fields_detail::type_name(std::filesystem::path()), "path");
  EXPECT_EQ(fields_detail::type_name(true), "true · false");
  EXPECT_EQ(unit_of("run.io_timeout_s"), "s");
  EXPECT_EQ(unit_of("network_gb_s"), "10⁹ bytes/s");
  EXPECT_EQ(unit_of("data.max_tokens"), "tokens");
  EXPECT_EQ(unit_of("train.steps"), "steps");
  EXPECT_EQ(unit_of("model.weights"), "");  // ends in s, counts no seconds
}

TEST(Fields, AValueIsFormattedAsAnOverrideTakesIt) {
  EXPECT_EQ(format_value(scalar("1e-4")), "1e-4");
  EXPECT_EQ(format_value(scalar("a/b.h5")), "a/b.h5");
  EXPECT_EQ(format_value(scalar("/a/b")), "/a/b");
  EXPECT_EQ(format_value(scalar("a b #c")), "\"a b #c\"");
  EXPECT_EQ(format_value(scalar("null")), "\"null\"");
  EXPECT_EQ(format_value(scalar("-x")), "\"-x\"");
  EXPECT_EQ(format_value(scalar("")), "\"\"");
  EXPECT_EQ(format_value(kNull), "null");
  EXPECT_EQ(format_value(list({})), "[]");
}

}  // namespace
}  // namespace spt
