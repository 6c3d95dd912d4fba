#include "trainer/eval/perplexity.h"

#include <cmath>

#include <gmock/gmock.h>

#include "tests/trainer/messages.h"

namespace spt {
namespace {

// Three examples with a mean loss of 2: residuals 1, −2, 1; the ratio estimator's variance n/(n−1)·Σr²/(Σtokens)².
TEST(Perplexity, StandardError_IsTheRatioEstimatorsCarriedThroughExp) {
  const Perplexity found = perplexity({{0, 5, 2}, {1, 4, 3}, {2, 0, 0}, {3, 3, 1}});
  EXPECT_EQ(found.examples, 3);
  EXPECT_NEAR(found.value, std::exp(2.0), 1e-12);
  EXPECT_NEAR(found.standard_error, std::exp(2.0) * std::sqrt(3.0 / 2 * (1 + 4 + 1) / 36), 1e-12);
}

TEST(Perplexity, WithoutATrainedToken_IsRefused) {
  EXPECT_THAT(bad_input_of([] { perplexity({{0, 0, 0}}); }), testing::HasSubstr("no example has a trained token"));
}

}  // namespace
}  // namespace spt
