#ifndef HANDOFF_TOOLS_COMMAND_LINE_H_
#define HANDOFF_TOOLS_COMMAND_LINE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "tools/command_model.h"
#include "tools/verb.h"

namespace handoff {

enum class Format { kText, kJson };

// What the command was told to do.
struct CommandLine {
  Verb verb = Verb::kHelp;
  // Of kHelp: the verb that help is wanted for, "" for the command itself.
  std::string topic;
  // Of kCompletion: "bash", "zsh" or "fish".
  std::string shell;
  std::string path;
  Format format = Format::kText;
  absl::Duration timeout = absl::Seconds(5);
  // Of kRehearse: what to execute.
  std::vector<std::string> command;
};

// Reads the arguments that follow the program's name. Options come before or
// after the verb, as --name=value or --name value; the last of a name counts.
// What follows "--" is the command to rehearse.
// INVALID_ARGUMENT, in words for people, where that is not a use of the
// command.
absl::StatusOr<CommandLine> ParseCommandLine(
    absl::Span<const absl::string_view> arguments);

// Ends with a newline. `topic` as in CommandLine.
std::string HelpText(absl::string_view topic);

CommandModel ModelOfCommand();

}  // namespace handoff

#endif  // HANDOFF_TOOLS_COMMAND_LINE_H_
