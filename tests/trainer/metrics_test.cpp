#include "trainer/metrics.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

using testing::AllOf;
using testing::HasSubstr;

MetricsRow row_at(int64_t step) {
  MetricsRow row;
  row.step = step;
  row.epoch = 2;
  row.loss = 0.1 + static_cast<double>(step);
  row.grad_norm = 1.0 / 3;
  row.lr = 1e-5;
  row.trained_tokens = 1234567890123;
  row.tokens = 99;
  row.seconds = 0.25;
  row.data_seconds = 0.01;
  row.tokens_per_second = 396;
  row.memory_bytes = int64_t{1} << 40;
  return row;
}

class Metrics : public testing::Test {
 protected:
  std::string write_error(const std::string& text, int64_t resume_after_step) const {
    folder_.put("metrics.jsonl", text);
    try {
      const MetricsWriter writer(path_, resume_after_step);
    } catch (const BadInput& error) {
      return error.what();
    }
    return "(no error)";
  }
  void write(int64_t from, int64_t to, int64_t resume_after_step) const {
    MetricsWriter writer(path_, resume_after_step);
    for (int64_t step = from; step <= to; ++step) writer.append(row_at(step));
  }
  std::vector<int64_t> steps() const {
    std::vector<int64_t> steps;
    for (const MetricsRow& row : read_metrics(path_)) steps.push_back(row.step);
    return steps;
  }
  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "metrics.jsonl";
};

TEST_F(Metrics, LinesHoldTheFieldsOfTheContractInTheirOrder) {
  MetricsRow row = row_at(1);
  MetricsWriter writer(path_, 0);
  writer.append(row);
  row.step = 2;
  row.valid_loss = 2.5;
  row.comm_exposed_seconds = 0.125;
  row.mfu = 0.5;
  row.device_allocations = 42;
  writer.append(row);
  EXPECT_EQ(
      folder_.get("metrics.jsonl"),
      R"({"step":1,"epoch":2,"loss":1.1,"grad_norm":0.3333333333333333,"lr":1e-05,"trained_tokens":1234567890123,)"
      R"("tokens":99,"seconds":0.25,"data_seconds":0.01,"tokens_per_second":396.0,"memory_bytes":1099511627776})"
      "\n"
      R"({"step":2,"epoch":2,"loss":1.1,"valid_loss":2.5,"grad_norm":0.3333333333333333,"lr":1e-05,)"
      R"("trained_tokens":1234567890123,"tokens":99,"seconds":0.25,"data_seconds":0.01,"tokens_per_second":396.0,)"
      R"("comm_exposed_seconds":0.125,"mfu":0.5,"memory_bytes":1099511627776,"device_allocations":42})"
      "\n");
}

TEST_F(Metrics, RowsReadBackToTheSameBits) {
  MetricsRow row = row_at(1);
  row.loss = std::nextafter(0.1, 1.0);
  row.valid_loss = 5e-324;
  row.device_allocations = (int64_t{1} << 53) + 1;
  MetricsWriter(path_, 0).append(row);
  const std::vector<MetricsRow> rows = read_metrics(path_);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].step, 1);
  EXPECT_EQ(rows[0].epoch, 2);
  EXPECT_EQ(rows[0].loss, row.loss);
  EXPECT_EQ(rows[0].valid_loss, row.valid_loss);
  EXPECT_EQ(rows[0].grad_norm, row.grad_norm);
  EXPECT_EQ(rows[0].lr, row.lr);
  EXPECT_EQ(rows[0].trained_tokens, row.trained_tokens);
  EXPECT_EQ(rows[0].tokens, row.tokens);
  EXPECT_EQ(rows[0].seconds, row.seconds);
  EXPECT_EQ(rows[0].data_seconds, row.data_seconds);
  EXPECT_EQ(rows[0].tokens_per_second, row.tokens_per_second);
  EXPECT_FALSE(rows[0].mfu.has_value());
  EXPECT_EQ(rows[0].memory_bytes, row.memory_bytes);
  EXPECT_EQ(rows[0].device_allocations, row.device_allocations);
}

TEST_F(Metrics, NumbersThatAreNotFiniteAreNull) {
  MetricsRow row = row_at(1);
  row.loss = std::numeric_limits<double>::quiet_NaN();
  row.grad_norm = std::numeric_limits<double>::infinity();
  row.valid_loss = row.loss;
  MetricsWriter(path_, 0).append(row);
  EXPECT_THAT(folder_.get("metrics.jsonl"), HasSubstr(R"("loss":null,"valid_loss":null,"grad_norm":null)"));
  const MetricsRow read = read_metrics(path_).at(0);
  EXPECT_TRUE(std::isnan(read.loss));
  EXPECT_TRUE(std::isnan(read.grad_norm));
  EXPECT_TRUE(read.valid_loss && std::isnan(*read.valid_loss));
}

TEST_F(Metrics, EachLineIsInTheFileAtOnce) {
  MetricsWriter writer(path_, 0);
  for (int64_t step = 1; step <= 3; ++step) {
    writer.append(row_at(step));
    EXPECT_EQ(read_metrics(path_).size(), static_cast<size_t>(step));
  }
}

TEST_F(Metrics, ResumingCutsLaterRowsAndKeepsTheOthersAsTheyAre) {
  write(1, 5, 0);
  const std::string before = folder_.get("metrics.jsonl");
  write(4, 6, 3);
  EXPECT_EQ(steps(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(folder_.get("metrics.jsonl").substr(0, before.size()), before);
  write(7, 7, 6);
  EXPECT_EQ(steps().size(), 7u);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "metrics.jsonl.partial"));
}

TEST_F(Metrics, ResumingCutsATornLastLine) {
  write(1, 3, 0);
  const std::string whole = folder_.get("metrics.jsonl");
  const size_t third = whole.rfind('\n', whole.size() - 2) + 1;
  for (size_t size = third + 1; size < whole.size(); size += 41) {
    folder_.put("metrics.jsonl", whole.substr(0, size));
    EXPECT_EQ(steps(), (std::vector<int64_t>{1, 2}));
    write(3, 3, 2);
    ASSERT_EQ(folder_.get("metrics.jsonl"), whole) << size;
    // The checkpoint is of step 3, whose row was lost.
    folder_.put("metrics.jsonl", whole.substr(0, size));
    write(4, 4, 3);
    ASSERT_EQ(steps(), (std::vector<int64_t>{1, 2, 4})) << size;
  }
}

TEST_F(Metrics, ANewRunBeginsAnEmptyFile) {
  write(1, 3, 0);
  write(1, 1, 0);
  EXPECT_EQ(steps(), std::vector<int64_t>{1});
  EXPECT_EQ(write_error("rubbish of another program\n", 0), "(no error)");
  EXPECT_EQ(folder_.get("metrics.jsonl"), "");
}

TEST_F(Metrics, TheFirstDifferenceIsOfWhatTrainingMakes) {
  const std::vector<MetricsRow> there{row_at(1), row_at(2), row_at(3)};
  std::vector<MetricsRow> here = there;
  here[0].seconds = here[1].tokens_per_second = 7;
  here[2].memory_bytes = 7;
  here.push_back(row_at(4));
  EXPECT_EQ(first_difference(there, here), "");
  here[2].lr = std::nextafter(here[2].lr, 1.0);
  EXPECT_EQ(first_difference(there, here), "step 3: lr is 1e-05 there, 1.0000000000000003e-05 here");
  here[1].valid_loss = 2.5;
  EXPECT_EQ(first_difference(there, here), "step 2: valid_loss is none there, 2.5 here");
  here[1].trained_tokens = 1;
  here[1].valid_loss.reset();
  EXPECT_EQ(first_difference(there, here), "step 2: trained_tokens is 1234567890123 there, 1 here");
  here.resize(1);
  EXPECT_EQ(first_difference(there, here), "step 2: is missing here");
  std::vector<MetricsRow> ran_away{row_at(1)};
  ran_away[0].loss = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(first_difference(ran_away, ran_away), "");
}

TEST_F(Metrics, ABrokenLineIsNamed) {
  write(1, 1, 0);
  const std::string good = folder_.get("metrics.jsonl");
  EXPECT_THAT(write_error(good + "{\"step\": 2\n" + good, 9), HasSubstr("metrics.jsonl:2: is no row of metrics"));
  EXPECT_THAT(write_error(good + "{\"step\": 2}\n" + good, 9),
              AllOf(HasSubstr("metrics.jsonl:2: "), HasSubstr("epoch")));
  EXPECT_THAT(write_error("3\n", 9), HasSubstr("metrics.jsonl:1: "));
  std::string text = good;
  text.replace(text.find("\"step\":1"), 8, "\"step\":1.5");
  EXPECT_THAT(write_error(text, 9), AllOf(HasSubstr("metrics.jsonl:1: "), HasSubstr("step")));
  EXPECT_THROW(read_metrics(folder_ / "none"), BadInput);
  EXPECT_THROW(MetricsWriter(folder_ / "none/metrics.jsonl", 0), Failure);
}

}  // namespace
}  // namespace spt
