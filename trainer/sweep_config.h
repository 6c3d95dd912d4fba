// The file of `spt sweep`: what is varied, how each point is trained and evaluated, what is compared.
//
//   dir: runs/study                    # {dir} in any text below
//   inputs: {bench: benchmarks}        # {bench}; another place is an override: inputs.bench=/data/bench
//   prepare:                           # once, in this order: spt's arguments; skipped where their --out is there
//     - prepare lima-role.jsonl --tokenizer models/m --arm role --out {dir}/role.h5
//   train: train.yaml                  # the configuration of every point,
//   set: {train.epochs: 3}             # with these values,
//   points:                            # and those of one of these points: paired values, by name,
//     role:  {data.train: "{dir}/role.h5"}
//     plain: {data.train: "{dir}/plain.h5"}
//   grid: {optimizer.lr: [1e-5, 2e-5]} # and every combination of these, and every seed (run.seed)
//   seeds: [1, 2]
//   evaluations:                       # behind a point's training, of its last checkpoint, in this order
//     eval: {config: eval.yaml, set: {eval.limit: 100, eval.data.root: "{bench}"}}
//   compare:                           # two points of `points`, paired by seed
//     role_against_plain: {a: role, b: plain, evaluations: [eval]}
//   after:                             # once, when all points are done; {every}: a word for each point, {every.role}:
//   for
//     - report {every.role} --baseline {every.plain} --out {dir}/report      # each that is role
//   slurm: {options: [--nodes=1, --gpus-per-node=8]}   # of sbatch, for the job of a point, with --slurm
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fields.h"

namespace spt {

struct SweepConfig {
  struct Evaluation {
    std::filesystem::path config;
    Named<ConfigValue> set;
    template <class F>
    void fields(F& f) {
      f("config", config, "a configuration of spt eval; model.path and run.dir are given to it");
      f("set", set, "values that take the place of the file's; {point} is the point's folder");
    }
    void validate(std::vector<std::string>& errors) const;
  };
  struct Comparison {
    std::string a, b;
    std::vector<std::string> evaluations;
    template <class F>
    void fields(F& f) {
      f("a", a, "a name of `points`");
      f("b", b, "another: differences are a - b");
      f("evaluations", evaluations, "names of `evaluations` [all]");
    }
  };
  struct Slurm {
    std::filesystem::path script = "slurm/sweep.sbatch";
    std::vector<std::string> options;
    template <class F>
    void fields(F& f) {
      f("script", script, "the batch script of --slurm");
      f("options", options, "options of sbatch for the job of a point");
    }
  };

  std::filesystem::path dir;
  Named<ConfigValue> inputs;
  std::vector<std::string> prepare, after;
  std::filesystem::path train;
  Named<ConfigValue> set;
  Named<Named<ConfigValue>> points;
  Named<ConfigValue> grid;
  std::vector<uint64_t> seeds;
  Named<Evaluation> evaluations;
  Named<Comparison> compare;
  int64_t ranks = 1;
  int64_t threads = 1;
  std::optional<int64_t> parallel;
  std::vector<std::string> launcher;
  Slurm slurm;

  template <class F>
  void fields(F& f) {
    f("dir", dir, "folder of the sweep: sweep.json, and a run folder a point");
    f("inputs", inputs, "names for {KEY} in texts");
    f("prepare", prepare, "command lines of spt, run once before");
    f("train", train, "configuration of spt train");
    f("set", set, "values that take the place of the file's, in every point");
    f("points", points, "values of one point, by its name");
    f("grid", grid, "a list; every combination is a point");
    f("seeds", seeds, "run.seed of each point");
    f("evaluations", evaluations, "");
    f("compare", compare, "");
    f("after", after, "command lines of spt, run once all points are done");
    f("ranks", ranks, "of each training and evaluation");
    f("threads", threads, "of each rank (OMP_NUM_THREADS)");
    f("parallel", parallel, "points at a time [cores / (ranks x threads); 1 where there is a GPU]");
    f("launcher", launcher, "words before `spt`, {ranks} among them [srun inside a Slurm job, else mpirun]");
    f("slurm", slurm, "");
  }
  void validate(std::vector<std::string>& errors) const;
};

SweepConfig load_sweep_config(const std::filesystem::path& file, const std::vector<std::string>& overrides);

}  // namespace spt
