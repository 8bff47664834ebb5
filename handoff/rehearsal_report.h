#ifndef HANDOFF_REHEARSAL_REPORT_H_
#define HANDOFF_REHEARSAL_REPORT_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/handoff.pb.h"

// How a process that rehearses tells the one that started it how it went: one
// message on the socketpair that it has inherited (kRehearsalVariable).
//
// The report is what the ledger would say: `result` is "passed" or "failed",
// and what could not move is an entry, REFUSED, with its reason. What would
// have moved is counted, but not listed.

namespace handoff {

// Sends as many entries as one message holds, REFUSED ones first; the counts
// are of all. Never blocks. Codes of SendMessage().
absl::Status SendReport(int socket, v1::LedgerHandoff report);

// NOT_FOUND          the other end was closed without a report
// DEADLINE_EXCEEDED  none came before `deadline`
// CANCELLED          `give_up` was readable before one came; -1: never is
// INVALID_ARGUMENT   what came is none
// other codes        of ReceiveMessage()
absl::StatusOr<v1::LedgerHandoff> ReceiveReport(int socket, absl::Time deadline,
                                                int give_up = -1);

}  // namespace handoff

#endif  // HANDOFF_REHEARSAL_REPORT_H_
