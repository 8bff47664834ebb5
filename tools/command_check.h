#ifndef HANDOFF_TOOLS_COMMAND_CHECK_H_
#define HANDOFF_TOOLS_COMMAND_CHECK_H_

#include "absl/status/status.h"
#include "tools/command_line.h"

namespace handoff {

// Puts into a command line that was read what follows from the environment and
// from the verb, and decides whom to ask. A timeout of 0 is none that was given.
// INVALID_ARGUMENT, in words for people, for what is missing or does not go
// together.
absl::Status CompleteCommandLine(CommandLine& line);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_COMMAND_CHECK_H_
