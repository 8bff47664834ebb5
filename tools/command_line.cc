#include "tools/command_line.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace handoff {
namespace {

// A slip of the finger should not wait for a day.
constexpr absl::Duration kLongestTimeout = absl::Hours(1);
// A rehearsal restores everything: as long as a handoff may stage, and as much
// again.
constexpr absl::Duration kRehearsalTimeout = absl::Minutes(2);

constexpr absl::string_view kGeneralHelp =
    R"(Asks a running service what it would hand over to its successor, and what
became of everything in its last handoffs; finds out whether a new binary could
take over. Moves nothing.

usage: handoff VERB --handoff=PATH [--format=text|json] [--timeout=5s]
       handoff rehearse --handoff=PATH [...] -- COMMAND [ARGUMENT...]
       handoff help [VERB]

verbs:
  status   who serves there: process, generation, counts, last handoff
  list     the inventory: every listener, descriptor, blob and session
  ledger   what became of each of them in the last handoffs
  rehearse executes COMMAND, which takes everything but leaves it where it is

options:
  --handoff=PATH      the service's handoff socket
  --format=text|json  text for people (the default), or one line of JSON
  --timeout=5s        how long to wait for the whole answer, at most 1h; of
                      rehearse 2m unless it is given
  --help              this text, or that of the verb

exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  nobody answers
  4  not allowed
)";

struct VerbName {
  absl::string_view name;
  Verb verb;
  absl::string_view help;
};

constexpr VerbName kVerbs[] = {
    {"help", Verb::kHelp,
     R"(usage: handoff help [VERB]

Says how the command, or one of its verbs, is used.
)"},
    {"status", Verb::kStatus,
     R"(usage: handoff status --handoff=PATH [--format=text|json] [--timeout=5s]

Says who serves at PATH: the process, its label, its generation (1 for a fresh
start, then one more for each handoff), what it is doing, how long it has run,
how many listeners, other descriptors, blobs and sessions it would hand over, how
many descriptors it has open of how many it may have, and how the last handoff
went.
)"},
    {"list", Verb::kList,
     R"(usage: handoff list --handoff=PATH [--format=text|json] [--timeout=5s]

Lists what the process at PATH would hand over now, a line for each listener,
other descriptor, blob and session: its name (of a session, its type), the
session's id, its age, how many handoffs it has lived through, and its descriptors
with their addresses ("local <- peer").
)"},
    {"ledger", Verb::kLedger,
     R"(usage: handoff ledger --handoff=PATH [--format=text|json] [--timeout=5s]

Tells what became of everything in the last handoffs, oldest first: how each
ended, how long its sessions were frozen (the blackout: median, 99th percentile
and longest, over sessions), and its entries by outcome:

  moved    the successor has it
  kept     could not move; the predecessor serves it to its end
  refused  the successor could not take it
  closed   ended while the handoff was under way
  lost     nobody has it
)"},
    {"rehearse", Verb::kRehearse,
     R"(usage: handoff rehearse --handoff=PATH [--format=text|json] [--timeout=2m]
                        -- COMMAND [ARGUMENT...]

Executes COMMAND, the new binary of the service at PATH with the arguments that
it will have. It receives a copy of everything and restores it, as if it took
over; then it lets go of it and ends. The service at PATH goes on all the time,
and its clients see nothing. Says what would have moved, and lists what would
not, each with the reason. Exits with 0 where everything would move, else with 1.

COMMAND's output goes to standard error. It has to be built with a library that
knows rehearsals: any other takes over in earnest.
)"},
};

const VerbName* FindVerb(absl::string_view name) {
  for (const VerbName& verb : kVerbs) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

template <typename... Parts>
absl::Status Wrong(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status SetOption(absl::string_view name, absl::string_view value,
                       CommandLine& command) {
  if (name == "handoff") {
    if (value.empty()) return Wrong("--handoff needs the path of a socket");
    command.path = std::string(value);
  } else if (name == "format") {
    if (value != "text" && value != "json") {
      return Wrong("--format is text or json, not '", value, "'");
    }
    command.format = value == "json" ? Format::kJson : Format::kText;
  } else {
    absl::Duration timeout;
    if (!absl::ParseDuration(value, &timeout) ||
        timeout <= absl::ZeroDuration() || timeout > kLongestTimeout) {
      return Wrong("--timeout is a time up to 1h, such as 500ms or 5s, not '",
                   value, "'");
    }
    command.timeout = timeout;
  }
  return absl::OkStatus();
}

bool TakesValue(absl::string_view name) {
  return name == "handoff" || name == "format" || name == "timeout";
}

absl::StatusOr<CommandLine> Complete(CommandLine command, const VerbName* verb,
                                     bool help) {
  if (verb == nullptr && !help) {
    return Wrong("a verb is missing: status, list, ledger or rehearse");
  }
  if (verb != nullptr) command.verb = verb->verb;
  if (help) {
    if (verb != nullptr && command.topic.empty()) {
      command.topic = std::string(verb->name);
    }
    command.verb = Verb::kHelp;
  }
  if (command.verb != Verb::kHelp && command.path.empty()) {
    return Wrong(verb->name, " needs --handoff=PATH, the service's socket");
  }
  if (command.verb == Verb::kRehearse && command.command.empty()) {
    return Wrong("rehearse needs -- COMMAND [ARGUMENT...]");
  }
  return command;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(
    absl::Span<const absl::string_view> arguments) {
  CommandLine command;
  const VerbName* verb = nullptr;
  bool help = false;
  bool timed = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const absl::string_view argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      help = true;
    } else if (argument == "--" && verb != nullptr &&
               verb->verb == Verb::kRehearse) {
      for (++i; i < arguments.size(); ++i) {
        command.command.emplace_back(arguments[i]);
      }
    } else if (absl::StartsWith(argument, "-")) {
      const size_t equals = argument.find('=');
      const absl::string_view name =
          absl::StartsWith(argument, "--")
              ? argument.substr(
                    2, equals == absl::string_view::npos ? equals : equals - 2)
              : "";
      if (!TakesValue(name)) return Wrong("unknown option '", argument, "'");
      absl::string_view value;
      if (equals != absl::string_view::npos) {
        value = argument.substr(equals + 1);
      } else if (i + 1 < arguments.size()) {
        value = arguments[++i];
      } else {
        return Wrong(argument, " needs a value");
      }
      if (auto status = SetOption(name, value, command); !status.ok()) {
        return status;
      }
      timed |= name == "timeout";
    } else if (verb == nullptr) {
      verb = FindVerb(argument);
      if (verb == nullptr) return Wrong("unknown verb '", argument, "'");
    } else if (verb->verb == Verb::kHelp && command.topic.empty()) {
      if (FindVerb(argument) == nullptr) {
        return Wrong("unknown verb '", argument, "'");
      }
      command.topic = std::string(argument);
    } else {
      return Wrong("one argument too many: '", argument, "'");
    }
  }
  if (!timed && verb != nullptr && verb->verb == Verb::kRehearse) {
    command.timeout = kRehearsalTimeout;
  }
  return Complete(std::move(command), verb, help);
}

std::string HelpText(absl::string_view topic) {
  const VerbName* verb = FindVerb(topic);
  return std::string(verb == nullptr ? kGeneralHelp : verb->help);
}

}  // namespace handoff
