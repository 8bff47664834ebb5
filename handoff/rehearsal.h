#ifndef HANDOFF_REHEARSAL_H_
#define HANDOFF_REHEARSAL_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/handoff.pb.h"

namespace handoff {

// How long a command may take to end after its report, before it is killed.
inline constexpr absl::Duration kRehearsalGrace = absl::Seconds(5);

// What a rehearsal has found.
struct Rehearsal {
  // As the ledger's: `result` is "passed" or "failed", what would not move is
  // an entry, REFUSED, with its reason; what would move is only counted.
  v1::LedgerHandoff report;
  // "exited with code 0", "was killed by signal 9 (Killed)".
  std::string end;
  bool killed = false;  // by us: it did not end within the grace
};

// Executes `command` (a program, looked for in PATH where it has no slash, and
// its arguments) so that the service in it takes nothing over but only finds
// out whether it could, and reports. Its standard output goes to our standard
// error. `predecessor` is the process that it has to meet (Ask() gives it).
//
// Waits for the report until `deadline`, and then for the end of the command,
// which is killed where it does not come; only that process, not what it has
// started. Blocks; call it where no other thread reaps children. Thread-safe.
//
// To give up, and have the command killed: make `give_up` readable, an eventfd
// for instance. -1: nobody will.
//
// NOT_FOUND, PERMISSION_DENIED  the command cannot be executed
// ABORTED              it ended, or closed what it was to report on, without a
//                      report: it is no service, or crashed
// DEADLINE_EXCEEDED    no report by `deadline`; it was killed
// CANCELLED            given up; it was killed, unless it had ended
// FAILED_PRECONDITION  it met another process than `predecessor`
// INVALID_ARGUMENT     the report makes no sense
// other codes          by absl::ErrnoToStatus
absl::StatusOr<Rehearsal> Rehearse(const std::vector<std::string>& command,
                                   pid_t predecessor, absl::Time deadline,
                                   int give_up = -1);

}  // namespace handoff

#endif  // HANDOFF_REHEARSAL_H_
