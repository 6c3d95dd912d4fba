// One way in which a job can end, by name; dist_process_tests starts it under mpirun and watches.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include <ATen/Functions.h>
#include <unistd.h>

#include "base/stop.h"
#include "dist/mesh.h"
#include "dist/watchdog.h"

namespace spt {
namespace {

constexpr const char* kMessage = "x.yaml:3: optimizer.lr is -1, expected a positive number";

// The test counts the seconds from here.
void now_it_happens() {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  std::printf("happened at %.3f\n", now.count());
  std::fflush(stdout);
}

ExitStatus wait_for_others(Runtime& runtime) {
  runtime.host_world().all_reduce(at::ones({3}));
  return ExitStatus::kDone;
}

[[noreturn]] void bad_input() {
  now_it_happens();
  throw BadInput(kMessage);
}

[[noreturn]] void hang() {
  for (;;) pause();
}

// Steps of all ranks, in the 7th of which `culprit` alone does something else instead of its collective.
ExitStatus step_with_culprit(Runtime& runtime, int culprit, const std::function<void()>& other) {
  watch_collectives(2, "run.collective_timeout_s");
  std::this_thread::sleep_for(std::chrono::seconds(1));  // as jobs do that begin to train: first heartbeats are there
  for (int step = 1; step <= 8; ++step) {
    watch_step(step);
    if (step == 7 && runtime.rank() == culprit) {
      now_it_happens();
      other();
    } else {
      wait_for_others(runtime);
    }
  }
  return ExitStatus::kDone;
}

// Ranks with unlike shares of work.
ExitStatus wait_for_a_slow_rank(Runtime& runtime, const std::function<void()>& work_of_the_last) {
  watch_collectives(2, "run.collective_timeout_s", Phase::kUneven);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  if (runtime.rank() == runtime.size() - 1) {
    now_it_happens();
    work_of_the_last();
  }
  return wait_for_others(runtime);
}

// `culprit`: the rank of which a scenario wants one.
ExitStatus play(const std::string& name, Runtime& runtime, int culprit) {
  const int rank = runtime.rank();
  const auto by_culprit = [&](const std::function<void()>& other) {
    return step_with_culprit(runtime, culprit, other);
  };
  const std::map<std::string, std::function<ExitStatus()>> scenarios = {
      {"done", [&] { return wait_for_others(runtime); }},
      {"stopped", [&] { return ExitStatus::kStopped; }},
      {"bad_input_on_all", [&]() -> ExitStatus { bad_input(); }},
      {"bad_input_on_last",
       [&] {
         if (rank == runtime.size() - 1) bad_input();
         return wait_for_others(runtime);
       }},
      {"bad_input_on_all_but_first",
       [&] {
         if (rank > 0) bad_input();
         return wait_for_others(runtime);
       }},
      {"bad_input_while_sigterm_is_held",
       [&] {
         install_stop_handlers();
         if (rank == 1) bad_input();
         return wait_for_others(runtime);
       }},
      {"bad_input_after_others_are_done",
       [&] {
         install_stop_handlers();
         if (rank == 1) {
           std::this_thread::sleep_for(std::chrono::milliseconds(300));
           bad_input();
         }
         return ExitStatus::kDone;
       }},
      {"bad_mesh",
       [&] {
         now_it_happens();
         MeshConfig config;
         config.tp = 5;
         const Mesh mesh(runtime, config);
         return ExitStatus::kDone;
       }},
      {"failure_on_one",
       [&] {
         if (rank == 1) {
           now_it_happens();
           throw std::runtime_error("the disk is full");
         }
         return wait_for_others(runtime);
       }},
      {"killed_rank",
       [&] {
         if (rank == 1) {
           now_it_happens();
           std::raise(SIGKILL);
         }
         return wait_for_others(runtime);
       }},
      {"never_comes", [&] { return by_culprit([] { hang(); }); }},
      {"computes_endlessly",
       [&] {
         return by_culprit([] {
           for (volatile bool more = true; more;) continue;
         });
       }},
      {"is_stopped", [&] { return by_culprit([] { std::raise(SIGSTOP); }); }},
      {"is_killed", [&] { return by_culprit([] { std::raise(SIGKILL); }); }},
      {"calls_another_operation", [&] { return by_culprit([&] { runtime.host_world().barrier(); }); }},
      {"gives_another_shape", [&] { return by_culprit([&] { runtime.host_world().all_reduce(at::ones({5})); }); }},
      {"slow_rank",
       [&] { return wait_for_a_slow_rank(runtime, [] { std::this_thread::sleep_for(std::chrono::seconds(4)); }); }},
      {"slow_rank_is_stopped", [&] { return wait_for_a_slow_rank(runtime, [] { std::raise(SIGSTOP); }); }},
      {"hang_on_stream",
       [&]() -> ExitStatus {
         WatchedQueue queue([] { return false; });
         watch_collectives(2, "run.collective_timeout_s");
         queue.started("all_gather");
         now_it_happens();
         hang();
       }},
      {"failure_on_stream",
       [&]() -> ExitStatus {
         WatchedQueue queue([]() -> bool { throw Failure("remote process exited"); });
         watch_collectives(0, "run.collective_timeout_s");
         watch_step(7);
         queue.started("reduce_scatter");
         now_it_happens();
         hang();
       }},
      {"slow_without_limit",
       [&] {
         watch_collectives(0, "run.collective_timeout_s");
         if (rank == 1) std::this_thread::sleep_for(std::chrono::seconds(2));
         return wait_for_others(runtime);
       }},
      {"many_short_calls",
       [&] {
         watch_collectives(2, "run.collective_timeout_s");
         const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
         WatchedQueue queue([] { return true; });
         queue.started("all_gather");
         at::Tensor stop = at::zeros({1});
         while (stop.item<float>() == 0) {
           stop.fill_(std::chrono::steady_clock::now() > end ? 1 : 0);
           runtime.host_world().all_reduce(stop, Reduce::kMax);
         }
         return ExitStatus::kDone;
       }},
  };
  return scenarios.at(name)();
}

}  // namespace
}  // namespace spt

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  const int culprit = argc > 2 ? std::atoi(argv[2]) : -1;
  return spt::run_distributed(argc, argv, [&](spt::Runtime& runtime) { return spt::play(name, runtime, culprit); });
}
