// Runs the trainer's tests inside an MPI job of any size (also alone). Every rank runs every test; a failure on any
// rank fails the job.
#include <gmock/gmock.h>

#include "tests/trainer/ranks.h"

namespace spt {
Runtime* test_runtime = nullptr;
}

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  return spt::run_distributed(argc, argv, [](spt::Runtime& runtime) {
    spt::test_runtime = &runtime;
    if (runtime.rank() != 0) {
      // One report: rank 0's. The others' failures show in the exit status and as a message of their own.
      auto& listeners = testing::UnitTest::GetInstance()->listeners();
      delete listeners.Release(listeners.default_result_printer());
    }
    return RUN_ALL_TESTS() == 0 ? spt::ExitStatus::kDone : spt::ExitStatus::kFailure;
  });
}
