#ifndef HANDOFF_TOOLS_RUN_SERVICE_H_
#define HANDOFF_TOOLS_RUN_SERVICE_H_

#include "tools/command_line.h"

namespace handoff {

// `handoff run`: binds the listeners, runs the command with them, and does for
// it what RunPlan says, until it has ended; its exit code. Reaps every child of
// this process, also those that its service has left behind. To be called once,
// before there are threads.
int RunService(const CommandLine& command);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_RUN_SERVICE_H_
