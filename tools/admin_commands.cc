#include "tools/admin_commands.h"

#include <stdio.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tools/admin_client.h"
#include "tools/admin_format.h"
#include "tools/admin_watch.h"
#include "tools/progress_bar.h"

namespace handoff {
namespace {

using admin::v1::StartHandoffResponse;

void SetDuration(absl::Duration duration, google::protobuf::Duration& proto) {
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int>(rest / absl::Nanoseconds(1)));
}

// One call: one answer, said as JSON or as `format` has it.
template <typename Request, typename Response, typename Formatter>
ExitCode Ask(const CommandLine& command, absl::Duration timeout,
             grpc::Status (AdminStub::*method)(grpc::ClientContext*,
                                               const Request&, Response*),
             const Request& request, Formatter format) {
  const auto stub = ConnectToAdmin(command.admin);
  if (!stub.ok()) return FailCall(stub.status());
  grpc::ClientContext context;
  SetTimeout(context, timeout);
  Response response;
  const absl::Status status =
      FromGrpc((**stub.*method)(&context, request, &response));
  if (!status.ok()) return FailCall(status);
  return command.format == Format::kJson ? PrintJson(response)
                                         : Print(format(response));
}

// Says what comes, as JSON or as `format` has it, until the end, or until
// nobody reads that any more.
template <typename Response, typename Formatter>
ExitCode PrintAll(const CommandLine& command, grpc::ClientContext& context,
                  std::unique_ptr<grpc::ClientReader<Response>> reader,
                  bool& reader_left, Formatter format) {
  Response response;
  while (reader->Read(&response)) {
    const ExitCode printed = command.format == Format::kJson
                                 ? PrintJson(response, &reader_left)
                                 : Print(format(response), &reader_left);
    if (printed == kDone && !reader_left) continue;
    context.TryCancel();
    reader->Finish();
    return printed;
  }
  const absl::Status status = FromGrpc(reader->Finish());
  return status.ok() ? kDone : FailCall(status);
}

ExitCode List(const CommandLine& command) {
  const absl::Time deadline = absl::Now() + command.timeout;
  const auto stub = ConnectToAdmin(command.admin);
  if (!stub.ok()) return FailCall(stub.status());
  InventoryText text(command.details);
  const auto add = [&text](const auto& page) { return text.Add(page); };
  bool reader_left = false;

  grpc::ClientContext descriptors;
  SetTimeout(descriptors, deadline - absl::Now());
  ExitCode code =
      PrintAll(command, descriptors, (*stub)->ListDescriptors(&descriptors, {}),
               reader_left, add);
  if (code != kDone || reader_left) return code;

  grpc::ClientContext sessions;
  SetTimeout(sessions, deadline - absl::Now());
  admin::v1::ListSessionsRequest request;
  request.set_details(command.details);
  code = PrintAll(command, sessions, (*stub)->ListSessions(&sessions, request),
                  reader_left, add);
  if (code != kDone || reader_left || command.format == Format::kJson) {
    return code;
  }
  return Print(text.End());
}

ExitCode Ledger(const CommandLine& command) {
  const auto stub = ConnectToAdmin(command.admin);
  if (!stub.ok()) return FailCall(stub.status());
  grpc::ClientContext context;
  SetTimeout(context, command.timeout);
  LedgerText text;
  bool reader_left = false;
  const ExitCode code =
      PrintAll(command, context, (*stub)->GetLedger(&context, {}), reader_left,
               [&text](const auto& part) { return text.Add(part); });
  if (code != kDone || reader_left || command.format == Format::kJson) {
    return code;
  }
  return Print(text.End());
}

ExitCode CodeOf(const std::string& result) {
  if (result == "committed" || result == "passed") return kDone;
  return result == "aborted" ? kAborted : kFailed;
}

// A handoff or a rehearsal, to its end.
ExitCode Start(const CommandLine& command) {
  const auto stub = ConnectToAdmin(command.admin);
  if (!stub.ok()) return FailCall(stub.status());
  admin::v1::StartHandoffRequest request;
  request.set_executable(command.executable);
  request.set_wait_for_successor(command.wait);
  request.set_rehearse(command.verb == Verb::kRehearse);
  grpc::ClientContext context;
  SetTimeout(context, command.timeout);
  const auto reader = (*stub)->StartHandoff(&context, request);

  const bool json = command.format == Format::kJson;
  ProgressBar bar;
  StartHandoffResponse response;
  StartHandoffResponse last;
  ExitCode printed = kDone;
  while (reader->Read(&response)) {
    // Goes on when nobody reads: how it ends is what it exits with.
    if (json && printed == kDone) printed = PrintJson(response);
    if (!json && response.has_progress()) {
      ::fputs(
          bar.Show(response.progress(), TerminalWidth(), absl::Now()).c_str(),
          stderr);
    }
    if (response.has_result()) last = response;
  }
  const std::string rest = bar.End(last.result(), TerminalWidth(), absl::Now());
  if (!json) ::fputs(rest.c_str(), stderr);
  const absl::Status status = FromGrpc(reader->Finish());
  if (!last.has_result()) {
    if (status.ok()) {
      return Fail(kFailed,
                  "the service did not say how it ended; ask with handoff "
                  "ledger");
    }
    if (!request.rehearse() && absl::IsDeadlineExceeded(status)) {
      return Fail(kNobodyAnswers,
                  "no end within --timeout; a handoff that has begun goes on: "
                  "follow it with handoff upgrade --wait, or end it with "
                  "handoff abort");
    }
    // A rehearsal without a report: no handoff was aborted.
    return request.rehearse() && absl::IsAborted(status)
               ? Fail(kFailed, status.message())
               : FailCall(status);
  }
  if (!json) printed = Print(FormatResult(last));
  return printed == kDone ? CodeOf(last.result().result()) : printed;
}

ExitCode Drain(const CommandLine& command) {
  admin::v1::DrainRequest request;
  request.set_all(command.all);
  for (const uint64_t session : command.sessions) {
    request.add_sessions(session);
  }
  SetDuration(command.deadline, *request.mutable_deadline());
  return Ask(command, command.deadline + command.timeout, &AdminStub::Drain,
             request, FormatDrained);
}

ExitCode Lock(const CommandLine& command) {
  admin::v1::LockRequest request;
  request.set_reason(command.reason);
  SetDuration(command.expiry, *request.mutable_expiry());
  return Ask(command, command.timeout, &AdminStub::Lock, request,
             [](const admin::v1::LockResponse& response) {
               return absl::StrCat("locked until: ",
                                   FormatLock(response.lock()));
             });
}

// What there is to say of an answer that has nothing in it.
auto Saying(const char* text) {
  return [text](const google::protobuf::Message&) { return text; };
}

}  // namespace

ExitCode FailCall(const absl::Status& status) {
  ExitCode code = kFailed;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      code = kNobodyAnswers;
      break;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      code = kNotAllowed;
      break;
    case absl::StatusCode::kAborted:
      code = kAborted;
      break;
    default:
      break;
  }
  return Fail(code, status.message());
}

ExitCode RunOverAdmin(const CommandLine& command) {
  switch (command.verb) {
    case Verb::kStatus:
      return Ask(command, command.timeout, &AdminStub::GetStatus,
                 admin::v1::GetStatusRequest(),
                 [](const admin::v1::GetStatusResponse& status) {
                   return FormatStatus(status);
                 });
    case Verb::kList:
      return List(command);
    case Verb::kLedger:
      return Ledger(command);
    case Verb::kUpgrade:
    case Verb::kRehearse:
      return Start(command);
    case Verb::kWatch:
      return Watch(command);
    case Verb::kDrain:
      return Drain(command);
    case Verb::kAbort: {
      admin::v1::AbortHandoffRequest request;
      request.set_reason(command.reason);
      return Ask(command, command.timeout, &AdminStub::AbortHandoff, request,
                 Saying("the handoff is aborted\n"));
    }
    case Verb::kLock:
      return Lock(command);
    case Verb::kUnlock:
      return Ask(command, command.timeout, &AdminStub::Unlock,
                 admin::v1::UnlockRequest(), Saying("unlocked\n"));
    case Verb::kAccept: {
      admin::v1::SetAcceptingRequest request;
      request.set_accepting(command.accept == "on");
      return Ask(
          command, command.timeout, &AdminStub::SetAccepting, request,
          Saying(request.accepting() ? "accepting\n" : "not accepting\n"));
    }
    case Verb::kHelp:
    case Verb::kCompletion:
    case Verb::kRun:
      break;
  }
  return kUsage;
}

}  // namespace handoff
