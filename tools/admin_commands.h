#ifndef HANDOFF_TOOLS_ADMIN_COMMANDS_H_
#define HANDOFF_TOOLS_ADMIN_COMMANDS_H_

#include "absl/status/status.h"
#include "tools/command_line.h"
#include "tools/output.h"

namespace handoff {

// Does what `command` says over the admin endpoint that it names. Says what
// there is to say.
ExitCode RunOverAdmin(const CommandLine& command);

// Says why a call has failed. Returns the code for it.
ExitCode FailCall(const absl::Status& status);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_ADMIN_COMMANDS_H_
