#ifndef HANDOFF_TOOLS_COMMAND_LINE_H_
#define HANDOFF_TOOLS_COMMAND_LINE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "tools/admin_address.h"
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

  // One of the two says whom to ask: the other one is empty.
  std::string path;
  AdminAddress admin;

  Format format = Format::kText;
  // Infinite where nothing but its end ends the call. Of kWatch: how long the
  // service may be away.
  absl::Duration timeout;

  // Of kList.
  bool details = false;
  // Of kRehearse and kRun: what to execute here.
  std::vector<std::string> command;
  // Of kRun: names and addresses, in their order.
  std::vector<std::pair<std::string, std::string>> listeners;
  bool takes_over = false;
  // Of kUpgrade and kRehearse: what the service is to execute; empty: its own.
  std::string executable;
  bool wait = false;
  // Of kWatch; unset: from now on.
  absl::optional<uint64_t> after;
  std::vector<std::string> kinds;  // empty: all
  // Of kDrain.
  bool all = false;
  std::vector<uint64_t> sessions;
  absl::Duration deadline = absl::Seconds(30);
  // Of kAbort and kLock.
  std::string reason;
  absl::Duration expiry = absl::Hours(1);
  // Of kAccept: "on" or "off".
  std::string accept;
};

// Reads the arguments that follow the program's name. Those options that all
// verbs have come before or after the verb, as --name=value or --name value; the
// last of a name counts. What follows "--" is the command to rehearse or run. Where the
// endpoint is, and its files, may also be in the environment (HANDOFF_ADMIN...).
// INVALID_ARGUMENT, in words for people, where that is not a use of the
// command.
absl::StatusOr<CommandLine> ParseCommandLine(
    absl::Span<const absl::string_view> arguments);

// Ends with a newline. `topic` as in CommandLine.
std::string HelpText(absl::string_view topic);

CommandModel ModelOfCommand();

}  // namespace handoff

#endif  // HANDOFF_TOOLS_COMMAND_LINE_H_
