#ifndef HANDOFF_TOOLS_ADMIN_WATCH_H_
#define HANDOFF_TOOLS_ADMIN_WATCH_H_

#include "tools/command_line.h"
#include "tools/output.h"

namespace handoff {

// Says the events of the service as they happen, over all of its handoffs,
// until Ctrl-C, which ends the process with 0; until nobody reads what it says;
// or until the service is away for longer than command.timeout.
ExitCode Watch(const CommandLine& command);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_ADMIN_WATCH_H_
