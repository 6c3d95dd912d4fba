#include "trainer/step_rows.h"

#include <algorithm>

#include <ATen/Functions.h>
#include <gmock/gmock.h>

#include "tests/data/small_corpus.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

TEST(StepRows, OfAllRanksTogetherAreTheStep_AndEachKnowsTheWhole) {
  const TemporaryFolder folder;
  small_corpus().write(folder / "c.h5");  // of 5, 3 and 8 tokens
  const Dataset corpus(folder / "c.h5");
  RunConfig config;
  config.train.micro_batch_tokens = 8;
  const SamplerConfig sampler{3, 3, 1};
  for (const int dp : {1, 2, 3, 4}) {
    std::vector<int64_t> rows;
    int64_t trained = 0, most_passes = 0;
    for (int rank = 0; rank < dp; ++rank) {
      const StepRows loaded = load_step_rows(0, config, corpus, sampler, rank, dp);
      EXPECT_EQ(loaded.tokens, 16);
      EXPECT_DOUBLE_EQ(loaded.mean_length, (25.0 + 9 + 64) / 16);
      EXPECT_EQ(loaded.most_passes, dp == 1 ? 2 : 1) << "5 and 3 tokens share one";
      ASSERT_EQ(loaded.rows.size(), loaded.batches.size());
      most_passes = std::max(most_passes, static_cast<int64_t>(loaded.rows.size()));
      for (size_t pass = 0; pass < loaded.rows.size(); ++pass) {
        EXPECT_TRUE(at::equal(loaded.batches[pass].ids, corpus.batch(loaded.rows[pass]).ids));
        rows.insert(rows.end(), loaded.rows[pass].begin(), loaded.rows[pass].end());
      }
      trained += loaded.trained_tokens();
    }
    EXPECT_THAT(rows, testing::UnorderedElementsAre(0, 1, 2));
    EXPECT_EQ(most_passes, dp == 1 ? 2 : 1);
    EXPECT_EQ(trained, corpus.batch(std::vector<int64_t>{0, 1, 2}).trained_tokens());
  }
}

}  // namespace
}  // namespace spt
