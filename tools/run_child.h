#ifndef HANDOFF_TOOLS_RUN_CHILD_H_
#define HANDOFF_TOOLS_RUN_CHILD_H_

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

struct NamedListener {
  std::string name;
  UniqueFd fd;
};

// Executes `command`, which is looked for in PATH where it has no slash, and
// gives it the listeners as systemd does (sd_listen_fds(3)): descriptors from 3
// on, LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES. It inherits no other
// descriptor but the standard ones, has the signal mask `mask`, and is in a
// process group of its own, so that what a terminal sends comes from us alone.
// Only for a process without threads.
//
// NOT_FOUND, PERMISSION_DENIED  it cannot be executed
// other codes                   by absl::ErrnoToStatus
absl::StatusOr<pid_t> StartChild(const std::vector<std::string>& command,
                                 const std::vector<NamedListener>& listeners,
                                 const sigset_t& mask);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_RUN_CHILD_H_
