#include "trainer/reproducible.h"

#include <cstdlib>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "base/error.h"
#include "dist/text.h"
#include "trainer/manifest.h"

namespace spt {
namespace {

std::string described(const std::string& cpu, int64_t threads) {
  return fmt::format("{} with {} thread(s) a rank", cpu, threads);
}

}  // namespace

void make_products_reproducible() {
  setenv("MKL_CBWR", "AUTO", 0);
}

void require_one_kind_of_machine(Runtime& runtime, const std::filesystem::path& run) {
  if (!runtime.device().is_cpu())
    throw BadInput(
        "run.reproducible: nobody has looked yet whether bits repeat on a GPU; train on CPU ranks "
        "(CUDA_VISIBLE_DEVICES=), or without it");
  const std::string mine = described(cpu_type(), at::get_num_threads());
  const std::vector<std::string> all = all_gather_text(runtime.host_world(), mine);
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw BadInput(
          fmt::format("run.reproducible: rank 0@{} is on {}, rank {}@{} on {}; give all ranks one kind of "
                      "CPU and as many threads (OMP_NUM_THREADS)",
                      runtime.hosts()[0], all[0], rank, runtime.hosts()[rank], all[rank]));
  if (runtime.rank() != 0 || !std::filesystem::exists(run / "manifest.json")) return;
  const nlohmann::json manifest = load_manifest(run);
  for (const nlohmann::json& host : manifest["ranks"]) {
    const std::string before = described(host.value("cpu", "unknown"), host["threads"].get<int64_t>());
    if (before != mine)
      throw BadInput(
          fmt::format("run.reproducible: {} was trained so far on {}, this is {}; go on there, with "
                      "OMP_NUM_THREADS={}, or choose another run.dir",
                      run.string(), before, mine, host["threads"].get<int64_t>()));
  }
}

}  // namespace spt
