#include "handoff/rehearsal.h"

#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/rehearsal_report.h"
#include "handoff/transport/spawn.h"

namespace handoff {
namespace {

bool GivenUp(int give_up) {
  pollfd polled = {give_up, POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0;
}

bool EndsBefore(int pidfd, absl::Time deadline, int give_up) {
  while (!ProcessEnded(pidfd)) {
    if (GivenUp(give_up)) return false;
    const int64_t left = absl::ToInt64Milliseconds(
        absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1)));
    if (left <= 0) return false;
    pollfd polled[] = {{pidfd, POLLIN, 0}, {give_up, POLLIN, 0}};
    ::poll(polled, 2, static_cast<int>(std::min<int64_t>(left, 60'000)));
  }
  return true;
}

}  // namespace

absl::StatusOr<Rehearsal> Rehearse(const std::vector<std::string>& command,
                                   pid_t predecessor, absl::Time deadline,
                                   int give_up) {
  auto child = SpawnRehearsal(command);
  if (!child.ok()) return child.status();
  auto report = ReceiveReport(child->socket.get(), deadline, give_up);
  Rehearsal rehearsal;
  // Whoever did not report in time has had its time.
  const bool late = absl::IsDeadlineExceeded(report.status());
  if (!EndsBefore(child->pidfd.get(),
                  late ? absl::Now() : absl::Now() + kRehearsalGrace,
                  give_up)) {
    rehearsal.killed = true;
    KillProcess(child->pidfd.get()).IgnoreError();
  }
  auto end = ReapChild(child->pidfd.get());
  if (!end.ok()) return end.status();
  rehearsal.end = *std::move(end);
  const std::string& name = command.front();
  if (GivenUp(give_up)) {
    return absl::CancelledError(
        absl::StrCat("the rehearsal was given up: ", name, " ", rehearsal.end));
  }
  if (late) {
    return absl::DeadlineExceededError(
        absl::StrCat(name, " did not report in time, and ", rehearsal.end));
  }
  if (absl::IsNotFound(report.status())) {
    return absl::AbortedError(
        absl::StrCat(name, " ", rehearsal.end, ", without a report"));
  }
  if (!report.ok()) {
    return absl::Status(report.status().code(),
                        absl::StrCat(name, " ", rehearsal.end, ": ",
                                     report.status().message()));
  }
  // It need not have got as far as to meet anybody.
  const bool met = report->predecessor_pid() != 0 || report->handoff_id() != 0;
  if (met && report->predecessor_pid() != predecessor) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " rehearsed with pid ", report->predecessor_pid(),
                     ", but pid ", predecessor, " was to be its predecessor"));
  }
  rehearsal.report = *std::move(report);
  return rehearsal;
}

}  // namespace handoff
