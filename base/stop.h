// A request to stop, made by SIGTERM, SIGUSR1 or SIGINT. The handler only sets a flag; the trainer polls it between
// steps, all ranks agree, and the job saves and exits with status 75.
#pragma once

namespace spt {

void install_stop_handlers();
bool stop_requested();

}  // namespace spt
