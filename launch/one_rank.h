// Commands that one process does.
#pragma once

#include <functional>
#include <string>

namespace spt {

// Runs `body` and returns its exit status. Under mpirun or srun with several ranks, which would all do the same work
// and write the same files, ends the job with one BadInput in which `why` stands.
int run_on_one_rank(int argc, char** argv, const std::string& why, const std::function<int()>& body);

}  // namespace spt
