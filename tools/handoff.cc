// Asks a running service about its handoffs, rehearses the next, and begins it.
// README.md in this folder is the command's reference.

#include <signal.h>
#include <stdio.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "handoff/query.h"
#include "handoff/query_format.h"
#include "handoff/rehearsal.h"
#include "proto/admin.pb.h"
#include "tools/admin_commands.h"
#include "tools/command_line.h"
#include "tools/completion.h"
#include "tools/output.h"
#include "tools/progress_bar.h"
#include "tools/run_service.h"

namespace handoff {
namespace {

ExitCode FailToAsk(const absl::Status& status) {
  const auto fail = [&](ExitCode code, absl::string_view advice) {
    return Fail(code, absl::StrCat(status.message(), "; ", advice));
  };
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return fail(kNobodyAnswers,
                  "check that the service runs and that this is its handoff "
                  "socket");
    case absl::StatusCode::kUnavailable:
      return fail(kNobodyAnswers, "try again in a moment");
    case absl::StatusCode::kDeadlineExceeded:
      return fail(kNobodyAnswers,
                  "try a longer --timeout; if that does not help, the process "
                  "hangs");
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return fail(kNotAllowed, "run this as the service's user or as root");
    case absl::StatusCode::kInvalidArgument:
      return fail(kFailed,
                  "check the path, and that the service speaks this "
                  "version of the protocol");
    case absl::StatusCode::kFailedPrecondition:
      return fail(kFailed, "use the command of the service's version");
    case absl::StatusCode::kResourceExhausted:
      return fail(kFailed, "raise the limit that it names, if it is one");
    default:
      return fail(kFailed, "look for the cause in the service's log");
  }
}

// Why there is no answer of the command that was to rehearse.
ExitCode FailToRehearse(const absl::Status& status) {
  const auto fail = [&](absl::string_view advice) {
    return Fail(kFailed, absl::StrCat(status.message(), "; ", advice));
  };
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
      return fail("check the command behind --");
    case absl::StatusCode::kAborted:
      return fail(
          "look for the cause in what it said; it has to be a service "
          "that knows rehearsals");
    case absl::StatusCode::kDeadlineExceeded:
      return fail("try a longer --timeout; if that does not help, it hangs");
    case absl::StatusCode::kFailedPrecondition:
      return fail("check that its own configuration names the same path");
    default:
      return fail("use the command of the service's version");
  }
}

ExitCode RunRehearsal(const CommandLine& command) {
  const absl::Time deadline = absl::Now() + command.timeout;
  pid_t predecessor = 0;
  const absl::StatusOr<v1::QueryReply> status = Ask(
      command.path, v1::Query::STATUS, command.timeout, {}, {}, &predecessor);
  if (!status.ok()) return FailToAsk(status.status());
  const absl::StatusOr<Rehearsal> rehearsal =
      Rehearse(command.command, predecessor, deadline);
  if (!rehearsal.ok()) return FailToRehearse(rehearsal.status());
  if (rehearsal->killed) {
    Fail(kFailed, absl::StrCat(command.command.front(), " did not end within ",
                               absl::FormatDuration(kRehearsalGrace),
                               " of its report, and was killed"));
  }
  const bool ended = absl::StartsWith(rehearsal->end, "exited with code ");
  if (!rehearsal->killed && !ended) {
    Fail(kFailed, absl::StrCat(command.command.front(), " ", rehearsal->end,
                               " after its report"));
  }
  ExitCode printed = kDone;
  if (command.format == Format::kJson) {
    v1::QueryReply reply;
    *reply.add_handoffs() = rehearsal->report;
    printed = PrintJson(reply);
  } else {
    printed = Print(FormatRehearsal(rehearsal->report));
  }
  return ended && rehearsal->report.result() == "passed" ? printed : kFailed;
}

ExitCode FailToUpgrade(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kAborted:
      return Fail(kAborted, absl::StrCat(status.message(),
                                         "; its own log has the reason"));
    case absl::StatusCode::kFailedPrecondition:
      return Fail(kFailed,
                  absl::StrCat(status.message(),
                               "; see what it does with handoff status"));
    default:
      return FailToAsk(status);
  }
}

// What the endpoint would tell of it.
admin::v1::HandoffProgress ToAdmin(const v1::HandoffProgress& progress) {
  admin::v1::HandoffProgress shown;
  shown.set_handoff_id(progress.handoff_id());
  shown.set_phase(progress.phase());
  shown.set_successor_pid(progress.successor_pid());
  shown.set_successor_label(progress.successor_label());
  shown.set_sessions_sent(progress.sessions_sent());
  shown.set_sessions_total(progress.sessions_total());
  return shown;
}

admin::v1::Handoff ToAdmin(const v1::LedgerHandoff& handoff) {
  admin::v1::Handoff shown;
  shown.set_result(handoff.result());
  for (const v1::Phase& phase : handoff.phases()) {
    admin::v1::Phase& added = *shown.add_phases();
    added.set_name(phase.name());
    const int64_t nanoseconds =
        absl::ToInt64Nanoseconds(absl::Seconds(phase.seconds()));
    added.mutable_took()->set_seconds(nanoseconds / 1'000'000'000);
    added.mutable_took()->set_nanos(
        static_cast<int32_t>(nanoseconds % 1'000'000'000));
  }
  return shown;
}

ExitCode RunUpgrade(const CommandLine& command) {
  const bool json = command.format == Format::kJson;
  ProgressBar bar;
  const absl::StatusOr<v1::LedgerHandoff> handoff =
      AskToUpgrade(command.path, command.executable, command.timeout,
                   [&](const v1::HandoffProgress& progress) {
                     if (json) return;
                     const std::string text = bar.Show(
                         ToAdmin(progress), TerminalWidth(), absl::Now());
                     ::fputs(text.c_str(), stderr);
                   });
  if (!handoff.ok()) {
    ::fputs(bar.End(absl::Now()).c_str(), stderr);
    return FailToUpgrade(handoff.status());
  }
  if (!json) {
    ::fputs(bar.End(ToAdmin(*handoff), TerminalWidth(), absl::Now()).c_str(),
            stderr);
  }
  v1::QueryReply reply;
  *reply.add_handoffs() = *handoff;
  const ExitCode printed = json ? PrintJson(reply) : Print(FormatLedger(reply));
  if (printed != kDone || handoff->result() == "committed") return printed;
  return handoff->result() == "aborted" ? kAborted : kFailed;
}

ExitCode AskSocket(const CommandLine& command, v1::Query::Kind kind) {
  const absl::StatusOr<v1::QueryReply> reply =
      Ask(command.path, kind, command.timeout);
  if (!reply.ok()) return FailToAsk(reply.status());
  if (command.format == Format::kJson) return PrintJson(*reply);
  switch (kind) {
    case v1::Query::LIST:
      return Print(FormatInventory(*reply));
    case v1::Query::LEDGER:
      return Print(FormatLedger(*reply));
    default:
      return Print(FormatStatus(reply->status()));
  }
}

int Run(const CommandLine& command) {
  if (command.verb == Verb::kRun) return RunService(command);
  if (command.verb == Verb::kHelp) return Print(HelpText(command.topic));
  if (command.verb == Verb::kCompletion) {
    return Print(CompletionScript(command.shell, ModelOfCommand()));
  }
  if (!command.admin.address.empty()) return RunOverAdmin(command);
  switch (command.verb) {
    case Verb::kRehearse:
      return RunRehearsal(command);
    case Verb::kUpgrade:
      return RunUpgrade(command);
    case Verb::kList:
      return AskSocket(command, v1::Query::LIST);
    case Verb::kLedger:
      return AskSocket(command, v1::Query::LEDGER);
    default:
      return AskSocket(command, v1::Query::STATUS);
  }
}

int Main(const std::vector<absl::string_view>& arguments) {
  // A reader that goes away is then an error of write(), which Print() knows.
  ::signal(SIGPIPE, SIG_IGN);
  const absl::StatusOr<CommandLine> command = ParseCommandLine(arguments);
  if (!command.ok()) {
    return Fail(kUsage,
                absl::StrCat(command.status().message(), "; see handoff help"));
  }
  return Run(*command);
}

}  // namespace
}  // namespace handoff

int main(int argc, char** argv) {
  return handoff::Main({argv + (argc > 0 ? 1 : 0), argv + argc});
}
