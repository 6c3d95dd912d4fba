#include <cstdio>
#include <string>

#include <gmock/gmock.h>

#include "dist/watchdog.h"
#include "tests/ranks.h"

namespace spt {
namespace {

Runtime* current = nullptr;

// One rank reports everything, the others only what failed there.
class FailurePrinter : public testing::EmptyTestEventListener {
  // Kept, for while a result is handled GoogleTest must not be asked which test runs.
  void OnTestStart(const testing::TestInfo& test) override {
    test_ = std::string(test.test_suite_name()) + "." + test.name();
  }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "[rank %d] %s\n%s:%d: %s\n", job().rank(), test_.c_str(), result.file_name(),
                 result.line_number(), result.message());
  }

  std::string test_;
};

}  // namespace

Runtime& job() {
  return *current;
}

}  // namespace spt

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  return spt::run_distributed(argc, argv, [](spt::Runtime& runtime) {
    spt::current = &runtime;
    // A test that fails on one rank alone would leave the others waiting.
    spt::watch_collectives(60, "this program's limit");
    if (runtime.rank() > 0) {
      auto& listeners = testing::UnitTest::GetInstance()->listeners();
      delete listeners.Release(listeners.default_result_printer());
      listeners.Append(new spt::FailurePrinter);
    }
    return RUN_ALL_TESTS() == 0 ? spt::ExitStatus::kDone : spt::ExitStatus::kFailure;
  });
}
