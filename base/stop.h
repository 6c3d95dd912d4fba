// A request to stop, made by SIGTERM, SIGUSR1 or SIGINT, whose handler only sets a flag, or by a file STOP in the run's
// folder. Both are polled between steps; what is done is kept, and the job exits with status 75.
#pragma once

#include <filesystem>

namespace spt {

void install_stop_handlers();
bool stop_requested();
void request_stop();  // as a signal does
// Throws Stopped where it is. `doing`: "while loading the weights".
void stop_if_requested(const char* doing);
// Whether `folder` has a file STOP; a network file system that does not answer asks for nothing.
bool stop_file_in(const std::filesystem::path& folder);
// One left from the last time must not stop a run that begins, nor one that was honoured the next.
void remove_stop_file(const std::filesystem::path& folder);

}  // namespace spt
