#include "tools/command_options.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/observer.h"

namespace handoff {
namespace {

using Options = std::vector<OptionText>;
using Set = std::function<absl::Status(const std::string&, CommandLine&)>;

// A slip of the finger should not wait for a day.
constexpr absl::Duration kLongestTimeout = absl::Hours(1);
// As the endpoint has it.
constexpr absl::Duration kLongestDrain = absl::Hours(1);
constexpr absl::Duration kLongestLock = absl::Hours(24 * 7);

// Puts the value where `field` finds it.
template <typename Field>
Set Text(Field field) {
  return [field](const std::string& value, CommandLine& line) {
    field(line) = value;
    return absl::OkStatus();
  };
}

template <typename Field>
Set Flag(Field field) {
  return [field](const std::string&, CommandLine& line) {
    field(line) = true;
    return absl::OkStatus();
  };
}

OptionText TextOption(std::string name, std::string value,
                      std::string description, Set set) {
  return {std::move(name),
          std::move(value),
          std::move(description),
          std::move(set),
          {}};
}

OptionText Path(std::string name, std::string description, Set set) {
  OptionText option = TextOption(std::move(name), "PATH",
                                 std::move(description), std::move(set));
  option.path = true;
  return option;
}

OptionText Time(const std::string& name, std::string description,
                absl::Duration longest, const std::string& longest_text,
                absl::Duration CommandLine::*field) {
  return TextOption(name, "TIME", std::move(description),
                    [=](const std::string& value, CommandLine& line) {
                      absl::Duration time;
                      if (!absl::ParseDuration(value, &time) ||
                          time <= absl::ZeroDuration() || time > longest) {
                        return absl::InvalidArgumentError(absl::StrCat(
                            name, " is a time up to ", longest_text,
                            ", such as 500ms or 5s, not '", value, "'"));
                      }
                      line.*field = time;
                      return absl::OkStatus();
                    });
}

template <typename Use>
OptionText Number(const std::string& name, std::string value,
                  std::string description, Use use) {
  return TextOption(name, std::move(value), std::move(description),
                    [=](const std::string& text, CommandLine& line) {
                      uint64_t number = 0;
                      if (!absl::SimpleAtoi(text, &number)) {
                        return absl::InvalidArgumentError(absl::StrCat(
                            name, " is a number, not '", text, "'"));
                      }
                      use(line, number);
                      return absl::OkStatus();
                    });
}

void AddSocket(Options& options) {
  options.push_back(
      Path("--handoff", "the service's handoff socket",
           Text([](CommandLine & line) -> auto& { return line.path; })));
}

void AddEndpoint(Options& options) {
  options.push_back(TextOption(
      "--admin", "ADDR",
      "the service's admin endpoint, unix:PATH or\n"
      "tcp:HOST:PORT; else $HANDOFF_ADMIN",
      Text([](CommandLine & line) -> auto& { return line.admin.address; })));
  options.push_back(Path(
      "--admin_ca", "of tcp: whom to trust, in PEM; else $HANDOFF_ADMIN_CA",
      Text([](CommandLine & line) -> auto& { return line.admin.ca; })));
  options.push_back(Path("--admin_cert",
                         "of tcp: our certificate; else $HANDOFF_ADMIN_CERT",
                         Text([](CommandLine & line) -> auto& {
                           return line.admin.certificate;
                         })));
  options.push_back(
      Path("--admin_key", "of tcp: its key; else $HANDOFF_ADMIN_KEY",
           Text([](CommandLine & line) -> auto& { return line.admin.key; })));
  options.push_back(
      TextOption("--admin_insecure_plaintext_tcp", "",
                 "tcp without TLS: whoever can reach the network may\n"
                 "read and forge everything",
                 Flag([](CommandLine & line) -> auto& {
                   return line.admin.insecure_tcp;
                 })));
}

void AddOutput(Options& options) {
  OptionText format = TextOption(
      "--format", "text|json", "for people (the default), or JSON",
      [](const std::string& value, CommandLine& line) {
        line.format = value == "json" ? Format::kJson : Format::kText;
        return absl::OkStatus();
      });
  format.choices = {"text", "json"};
  options.push_back(std::move(format));
  options.push_back(Time("--timeout",
                         "how long to wait for the whole answer, at most 1h;\n"
                         "5s unless it is given, of rehearse 2m, of upgrade\n"
                         "without end; of watch, for how long the service\n"
                         "may be away",
                         kLongestTimeout, "1h", &CommandLine::timeout));
}

OptionText Executable() {
  return Path(
      "--exe",
      "what the service is to execute, of what it allows;\n"
      "its own unless it is given",
      Text([](CommandLine & line) -> auto& { return line.executable; }));
}

OptionText Reason(std::string description) {
  return TextOption(
      "--reason", "TEXT", std::move(description),
      Text([](CommandLine & line) -> auto& { return line.reason; }));
}

OptionText Kind() {
  OptionText option =
      TextOption("--kind", "KIND",
                 "only events of this kind: committed, aborted,\n"
                 "audit, ...; may be given several times",
                 [](const std::string& value, CommandLine& line) {
                   line.kinds.push_back(value);
                   return absl::OkStatus();
                 });
  for (int kind = 0;; ++kind) {
    const absl::string_view name =
        EventKindName(static_cast<Event::Kind>(kind));
    if (name == "unknown") return option;
    option.choices.emplace_back(name);
  }
}

OptionText Session() {
  OptionText option =
      Number("--session", "ID",
             "this session, by the number that list shows; may be\n"
             "given several times",
             [](CommandLine& line, uint64_t session) {
               line.sessions.push_back(session);
             });
  option.takes_several = true;
  return option;
}

OptionText Listener() {
  OptionText option = TextOption(
      "--listen", "NAME=ADDR",
      "where to listen: tcp:HOST:PORT, tcp:[V6]:PORT or\n"
      "unix:/PATH, and its name for COMMAND; may be given\n"
      "several times",
      [](const std::string& value, CommandLine& line) {
        const size_t end = value.find('=');
        const std::string name = value.substr(0, end);
        // As systemd has it: the names are separated by colons.
        const bool plain =
            !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
              return absl::ascii_isgraph(static_cast<unsigned char>(c)) &&
                     c != ':';
            });
        if (end == std::string::npos || !plain) {
          return absl::InvalidArgumentError(absl::StrCat(
              "--listen is NAME=ADDR, where NAME is a word without ':', not '",
              value, "'"));
        }
        line.listeners.emplace_back(name, value.substr(end + 1));
        return absl::OkStatus();
      });
  option.takes_several = true;
  return option;
}

OptionText Argument(std::string name, std::vector<std::string> choices,
                    Set set) {
  OptionText argument = TextOption(std::move(name), "WORD", "", std::move(set));
  argument.choices = std::move(choices);
  return argument;
}

// Those that this verb alone has.
Options OwnOptions(Verb verb) {
  switch (verb) {
    case Verb::kList:
      return {TextOption(
          "--details", "",
          "of the admin endpoint: each descriptor's socket\n"
          "options, queues and counters",
          Flag([](CommandLine & line) -> auto& { return line.details; }))};
    case Verb::kUpgrade:
      return {Executable(),
              TextOption(
                  "--wait", "",
                  "of the admin endpoint: executes nothing, follows the\n"
                  "handoff that is under way, or the next one",
                  Flag([](CommandLine & line) -> auto& { return line.wait; }))};
    case Verb::kRehearse:
      return {Executable()};
    case Verb::kWatch:
      return {
          Number("--after", "NUMBER",
                 "begins behind the event of this number, 0: with the\n"
                 "oldest that is kept; from now on unless given",
                 [](CommandLine& line, uint64_t after) { line.after = after; }),
          Kind()};
    case Verb::kDrain:
      return {TextOption("--all", "", "all sessions", Flag([
                         ](CommandLine & line) -> auto& { return line.all; })),
              Session(),
              Time("--deadline",
                   "when to end what is left, 30s unless it is given,\n"
                   "at most 1h; --timeout comes on top",
                   kLongestDrain, "1h", &CommandLine::deadline)};
    case Verb::kAbort:
      return {Reason("for the ledger")};
    case Verb::kLock:
      return {Reason("for whoever is refused"),
              Time("--expiry",
                   "when it ends by itself, 1h unless it is given, at\n"
                   "most 168h",
                   kLongestLock, "168h", &CommandLine::expiry)};
    case Verb::kRun:
      return {Listener(),
              TextOption("--takes_over", "",
                         "COMMAND takes over from the one that runs, and ends\n"
                         "that by itself: a service built with handoff",
                         Flag([](CommandLine & line) -> auto& {
                           return line.takes_over;
                         }))};
    case Verb::kAccept:
      return {Argument(
          "accept", {"on", "off"},
          Text([](CommandLine & line) -> auto& { return line.accept; }))};
    case Verb::kCompletion:
      return {Argument("shell", {"bash", "zsh", "fish"}, Text([
                       ](CommandLine & line) -> auto& { return line.shell; }))};
    case Verb::kHelp: {
      std::vector<std::string> verbs;
      for (const VerbText& text : VerbTexts()) verbs.emplace_back(text.name);
      return {Argument("verb", std::move(verbs), Text([
                       ](CommandLine & line) -> auto& { return line.topic; }))};
    }
    default:
      return {};
  }
}

}  // namespace

std::vector<OptionText> CommandOptions() {
  Options options;
  AddSocket(options);
  AddEndpoint(options);
  AddOutput(options);
  return options;
}

std::vector<OptionText> VerbOptions(Verb verb) {
  Options options = OwnOptions(verb);
  if (verb == Verb::kHelp || verb == Verb::kCompletion || verb == Verb::kRun) {
    return options;
  }
  if (verb == Verb::kStatus || verb == Verb::kList || verb == Verb::kLedger ||
      verb == Verb::kUpgrade || verb == Verb::kRehearse) {
    AddSocket(options);
  }
  AddEndpoint(options);
  AddOutput(options);
  return options;
}

}  // namespace handoff
