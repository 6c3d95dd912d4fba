#include "launch/one_rank.h"

#include <fmt/format.h>

#include "dist/runtime.h"

namespace spt {

int run_on_one_rank(int argc, char** argv, const std::string& why, const std::function<int()>& body) {
  if (!started_by_launcher()) return body();
  return run_distributed(argc, argv, [&](Runtime& runtime) {
    if (runtime.size() > 1)
      throw BadInput(fmt::format("this needs one process, and {} were started: start it without mpirun or srun ({})",
                                 runtime.size(), why));
    return static_cast<ExitStatus>(body());
  });
}

}  // namespace spt
