// The shape of a command: one file each in launch/, one function that adds its subcommand to the program's options.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace spt {

// What a chosen command does; returns the exit status (base/error.h). Throws BadInput or Failure, which spt_main turns
// into the exit status. `argc` and `argv` are main's, for MPI_Init and for the manifest's command line.
using Action = std::function<int(int argc, char** argv)>;

// Each adds its subcommand to `app`. When the user chose it, parsing stores what to run in `action`, and nothing else
// happens until spt_main calls it.
void add_prepare(CLI::App& app, Action& action);
void add_annotate(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);
void add_plan(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_judge(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);
void add_sweep(CLI::App& app, Action& action);
void add_rerun(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_keys(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);  // of all that `app` has when it is asked for

}  // namespace spt
