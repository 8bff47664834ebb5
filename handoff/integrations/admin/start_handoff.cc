#include "handoff/integrations/admin/start_handoff.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "handoff/fd/unique_fd.h"
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
constexpr size_t kReadAtOnce = 64;

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

// Looks at the log and the status until the handoff has come to its end.
class Follower {
 public:
  Follower(Control& control, const HandoffListener& listener)
      : control_(control),
        listener_(listener),
        after_(control.events().last()) {
    const v1::Status status = control.GetStatus();
    if (status.has_handoff() && !status.handoff().rehearsal() &&
        status.handoff().phase() != "watch") {
      id_ = status.handoff().handoff_id();
    }
  }

  // What is under way already; 0: nothing.
  uint64_t id() const { return id_; }

  // Waits for what happens next, a tenth of a second at the most, and tells the
  // listener how far it is. Why that is to give up, which counts only where
  // there is nothing to tell it yet: what ends the endpoint comes after a
  // result, and both may have come in this step.
  absl::Status Step() {
    control_.events().WaitFor(after_, absl::Now() + kBetween);
    const absl::Status leave = listener_.leave();
    ReadEvents();
    if (quiet_) return leave;
    status_ = control_.GetStatus();
    if (!leave.ok() || !status_.has_handoff()) return leave;
    const v1::HandoffProgress& progress = status_.handoff();
    if (progress.handoff_id() == id_ && progress.rehearsal()) rehearsal_ = true;
    return Tell(progress);
  }

  // Once it has come to its end.
  const v1::LedgerHandoff* Result() const {
    if (quiet_ || id_ == 0 || !status_.has_last_handoff()) return nullptr;
    const v1::LedgerHandoff& last = status_.last_handoff();
    return last.handoff_id() == id_ ? &last : nullptr;
  }
  // Somebody rehearsed: that is not what a waiting operator waits for.
  bool rehearsal() const { return rehearsal_; }
  void Forget() {
    id_ = 0;
    rehearsal_ = false;
  }
  // How the successor that was started has ended, where it began no handoff.
  const std::string& child_ended() const { return child_ended_; }

 private:
  void ReadEvents() {
    while (true) {
      const EventLog::Batch batch = control_.events().Read(after_, kReadAtOnce);
      if (batch.events.empty()) return;
      for (const v1::EventRecord& event : batch.events) Note(event);
      after_ = batch.events.back().sequence();
    }
  }

  void Note(const v1::EventRecord& event) {
    const std::string& kind = event.kind();
    if (kind == "handoff-begun" && id_ == 0) id_ = event.handoff_id();
    if (kind == "quiescing") quiet_ = true;
    if (kind == "released" || kind == "aborted" || kind == "rolled-back" ||
        kind == "watch-ended") {
      quiet_ = false;
    }
    if (kind == "child-ended" && id_ == 0) child_ended_ = event.text();
  }

  // On every change; Step() sees to it that this is not too often.
  absl::Status Tell(const v1::HandoffProgress& progress) {
    const absl::Time now = absl::Now();
    if (now - told_at_ < kBetween) return absl::OkStatus();
    StartHandoffResponse response;
    *response.mutable_progress() = ToAdmin(progress);
    std::string text = response.SerializeAsString();
    if (text == told_) return absl::OkStatus();
    told_ = std::move(text);
    told_at_ = now;
    return listener_.write(response) ? absl::OkStatus() : CallerHasLeft();
  }

  Control& control_;
  const HandoffListener& listener_;
  uint64_t after_;
  uint64_t id_ = 0;
  bool rehearsal_ = false;
  bool quiet_ = false;
  v1::Status status_;
  std::string child_ended_;
  std::string told_;
  absl::Time told_at_ = absl::InfinitePast();
};

absl::Status Follow(Follower& follower, bool wait,
                    const HandoffListener& listener) {
  while (true) {
    const absl::Status step = follower.Step();
    const v1::LedgerHandoff* result = follower.Result();
    if (wait && follower.rehearsal()) {
      if (result != nullptr) follower.Forget();
      if (!step.ok()) return step;
      continue;
    }
    if (result != nullptr) {
      StartHandoffResponse response;
      *response.mutable_result() = ToAdmin(*result);
      return listener.write(response) ? absl::OkStatus() : CallerHasLeft();
    }
    if (!wait && !follower.child_ended().empty()) {
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
  std::thread thread([&] {
    found = ::handoff::Rehearse(
        command, ::getpid(),
        std::min(deadline, absl::Now() + kLongestRehearsal), give_up.get());
    done = true;
  });
  absl::Status told;
  while (!done && told.ok()) told = follower.Step();
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
                follower.emplace(control, listener);
                if (wait || request.rehearse()) return absl::OkStatus();
                return control.StartSuccessor(executable);
              });
  if (!begun.ok()) return begun;
  if (request.rehearse()) {
    return Rehearse(*follower, executables, executable, deadline, listener);
  }
  return Follow(*follower, wait, listener);
}

}  // namespace handoff
