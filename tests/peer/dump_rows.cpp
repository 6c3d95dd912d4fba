// dump_rows EXAMPLES BATCH SEED STEPS
//
// The corpus rows of each step from step 1 on, as a JSON list of lists on stdout: what the sampler gives the trainer.
#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "data/sampler.h"

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: dump_rows EXAMPLES BATCH SEED STEPS\n", stderr);
    return 1;
  }
  const spt::SamplerConfig config{std::atoll(argv[1]), std::atoll(argv[2]), std::strtoull(argv[3], nullptr, 10)};
  nlohmann::json rows = nlohmann::json::array();
  for (int64_t step = 0; step < std::atoll(argv[4]); ++step) rows.push_back(spt::rows_for_step(step, config));
  std::puts(rows.dump().c_str());
  return 0;
}
