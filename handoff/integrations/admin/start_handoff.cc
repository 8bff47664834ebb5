#include "handoff/integrations/admin/start_handoff.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/follower.h"
#include "handoff/integrations/admin/admin_messages.h"
#include "handoff/integrations/admin/operator_calls.h"
#include "handoff/integrations/admin/problem.h"
#include "handoff/rehearsal.h"

namespace handoff {
namespace {

using admin::v1::StartHandoffRequest;
using admin::v1::StartHandoffResponse;

constexpr absl::Duration kBetween = absl::Milliseconds(100);
// Of a rehearsal whose caller named no deadline: as long as staging may take,
// by default, and a little.
constexpr absl::Duration kLongestRehearsal = absl::Seconds(90);

absl::Status Wrong(absl::string_view what, absl::string_view remedy) {
  return Problem(absl::StatusCode::kInvalidArgument, "ARGUMENT", what, remedy);
}

absl::Status CheckRequest(const StartHandoffRequest& request) {
  if (!request.wait_for_successor()) return absl::OkStatus();
  if (request.rehearse()) {
    return Wrong("rehearse and wait_for_successor together", "set one of them");
  }
  if (!request.executable().empty()) {
    return Wrong("an executable where nothing is executed",
                 "leave it empty, or wait_for_successor unset");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Choose(const Executables& executables,
                                   const std::string& asked) {
  if (asked.empty() || asked == executables.own) {
    if (!executables.own.empty()) return executables.own;
    return Problem(absl::StatusCode::kFailedPrecondition, "NO_EXECUTABLE",
                   "this process has no executable of its own configured",
                   "name one that is allowed, or start the successor yourself "
                   "and set wait_for_successor");
  }
  if (std::find(executables.allowed.begin(), executables.allowed.end(),
                asked) != executables.allowed.end()) {
    return asked;
  }
  return Problem(absl::StatusCode::kPermissionDenied, "NOT_ALLOWED",
                 "the executable is not on the list of this process, which "
                 "keeps an operator from running just any program",
                 "have it put on the list, or leave the executable empty");
}

std::string Arguments(const StartHandoffRequest& request) {
  if (request.wait_for_successor()) return "waiting for a successor";
  return absl::StrCat(request.rehearse() ? "rehearsing " : "",
                      request.executable().empty()
                          ? "its own executable"
                          : Quoted(request.executable()));
}

// Waits for what happens next, a tenth of a second at the most, and tells the
// listener how far it is. Why that is to give up, which counts only where there
// is nothing to tell it yet: what ends the endpoint comes after a result, and
// both may have come in this step.
absl::Status Step(Follower& follower, const HandoffListener& listener) {
  const absl::Status leave = listener.leave();
  const absl::Time now = absl::Now();
  const auto progress = follower.Step(leave.ok() ? now + kBetween : now);
  if (!leave.ok() || !progress.has_value()) return leave;
  StartHandoffResponse response;
  *response.mutable_progress() = ToAdmin(*progress);
  return listener.write(response) ? absl::OkStatus() : CallerHasLeft();
}

absl::Status Follow(Follower& follower, const HandoffListener& listener) {
  while (true) {
    const absl::Status step = Step(follower, listener);
    if (const v1::LedgerHandoff* result = follower.Result()) {
      StartHandoffResponse response;
      *response.mutable_result() = ToAdmin(*result);
      return listener.write(response) ? absl::OkStatus() : CallerHasLeft();
    }
    if (!follower.child_ended().empty()) {
      return Problem(
          absl::StatusCode::kAborted, "SUCCESSOR_ENDED",
          absl::StrCat("the successor that was started has ended before it "
                       "took anything over: ",
                       follower.child_ended()),
          "its own log has the reason: mend that, then call again");
    }
    if (!step.ok()) return step;
  }
}

absl::Status Rehearse(Follower& follower, const Executables& executables,
                      const std::string& executable, absl::Time deadline,
                      const HandoffListener& listener) {
  std::vector<std::string> command = executables.arguments;
  if (command.empty()) command.emplace_back();
  command.front() = executable;
  const UniqueFd give_up(::eventfd(0, EFD_CLOEXEC));
  if (!give_up) {
    return WithRemedy(absl::ErrnoToStatus(errno, "eventfd"), "rehearsing");
  }
  absl::StatusOr<Rehearsal> found = absl::UnknownError("");
  std::atomic<bool> done{false};
  std::thread thread;
  try {
    thread = std::thread([&] {
      found = ::handoff::Rehearse(
          command, ::getpid(),
          std::min(deadline, absl::Now() + kLongestRehearsal), give_up.get());
      done = true;
    });
  } catch (const std::system_error& error) {
    return WithRemedy(
        absl::ResourceExhaustedError(absl::StrCat("no thread: ", error.what())),
        "rehearsing");
  }
  absl::Status told;
  while (!done && told.ok()) told = Step(follower, listener);
  // Nobody is there to hear of it, or the process ends.
  if (!told.ok()) ::eventfd_write(give_up.get(), 1);
  thread.join();
  if (!found.ok()) {
    return told.ok() ? WithRemedy(found.status(), "rehearsing") : told;
  }
  StartHandoffResponse response;
  *response.mutable_result() = ToAdmin(found->report);
  for (const v1::LedgerEntry& entry : found->report.entries()) {
    if (entry.outcome() != v1::LedgerEntry::REFUSED) continue;  // kept anyway
    *response.add_refused() = ToAdmin(entry);
  }
  return listener.write(response) ? absl::OkStatus() : CallerHasLeft();
}

// Whether there is somebody to hand over, and nothing against it.
absl::Status CheckState(const v1::Status& status, bool wait) {
  if (status.has_lock()) {
    return Problem(
        absl::StatusCode::kFailedPrecondition, "LOCKED",
        absl::StrCat("handoffs are locked: ", status.lock().reason()),
        "wait until whoever locked them is done, or Unlock");
  }
  if (status.state() == "watching" || status.state() == "stopping") {
    return Problem(absl::StatusCode::kFailedPrecondition, "NOT_SERVING",
                   absl::StrCat("this process is ", status.state()),
                   "connect again, to whoever serves now");
  }
  if (!wait && status.has_handoff()) {
    return Problem(absl::StatusCode::kFailedPrecondition, "BUSY",
                   "a handoff or a rehearsal is under way",
                   "follow it with wait_for_successor, or AbortHandoff");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CallerHasLeft() {
  return absl::CancelledError("the caller has left; the handoff goes on");
}

absl::Status EndpointDrains() {
  return Problem(absl::StatusCode::kUnavailable, "DRAINING",
                 "this process drains, and what was waited for has not come",
                 "connect again: whoever serves then knows the last handoffs");
}

absl::Status StartHandoff(Control& control, const Caller& caller,
                          const Executables& executables,
                          const StartHandoffRequest& request,
                          absl::Time deadline,
                          const HandoffListener& listener) {
  const bool wait = request.wait_for_successor();
  std::string executable;
  absl::optional<Follower> follower;
  const absl::Status begun =
      Audited(control, caller, "StartHandoff", Arguments(request),
              [&]() -> absl::Status {
                absl::Status status = CheckRequest(request);
                if (!status.ok()) return status;
                if (!wait) {
                  auto chosen = Choose(executables, request.executable());
                  if (!chosen.ok()) return chosen.status();
                  executable = *std::move(chosen);
                }
                status = CheckState(control.GetStatus(), wait);
                if (!status.ok()) return status;
                // Before it begins, so that no event is missed.
                follower.emplace(control, /*under_way=*/wait);
                if (wait || request.rehearse()) return absl::OkStatus();
                const auto child = control.StartSuccessor(executable);
                if (child.ok()) follower->SetChild(*child);
                return child.status();
              });
  if (!begun.ok()) return begun;
  if (request.rehearse()) {
    return Rehearse(*follower, executables, executable, deadline, listener);
  }
  return Follow(*follower, listener);
}

}  // namespace handoff
