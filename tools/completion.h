#ifndef HANDOFF_TOOLS_COMPLETION_H_
#define HANDOFF_TOOLS_COMPLETION_H_

#include <string>

#include "absl/strings/string_view.h"
#include "tools/command_model.h"

namespace handoff {

// Code with which `shell`, "bash", "zsh" or "fish", completes the command
// `handoff`: verbs, options, values of which there are a few, names of files.
// Empty for any other shell.
std::string CompletionScript(absl::string_view shell,
                             const CommandModel& model);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_COMPLETION_H_
