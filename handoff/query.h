#ifndef HANDOFF_QUERY_H_
#define HANDOFF_QUERY_H_

#include <sys/types.h>

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/query_format.h"    // IWYU pragma: export
#include "handoff/reply_assembly.h"  // IWYU pragma: export
#include "proto/handoff.pb.h"

namespace handoff {

// Asks the process that serves at the handoff socket `path`, and returns its
// replies put together: a handoff whose entries came in several frames is one.
// Checks who answers, as a successor does; asked by root, the owner of the
// socket is trusted too. Moves nothing and disturbs nobody: a question takes no
// handoff's slot. Thread-safe; blocks, `timeout` at the most.
//
// NOT_FOUND            nobody listens at `path`
// UNAVAILABLE          the process is busy or stopping, or closed the
//                      connection before its last reply
// DEADLINE_EXCEEDED    the last reply did not come within `timeout`
// PERMISSION_DENIED, UNAUTHENTICATED  either side does not trust the other
// INVALID_ARGUMENT     the path, the reply, or, for the process, the question
// FAILED_PRECONDITION  it refused: another version of the protocol
// RESOURCE_EXHAUSTED   the reply is larger than `limits` allows; or it
//                      refused for a limit of its own
// other codes          by absl::ErrnoToStatus
//
// `answered_by`: where not null, set to the pid of who answered, as the kernel
// says (0 where it lives in a pid namespace that we cannot see).
absl::StatusOr<v1::QueryReply> Ask(absl::string_view path, v1::Query::Kind kind,
                                   absl::Duration timeout = absl::Seconds(5),
                                   const TrustPolicy& trust = {},
                                   const ReplyLimits& limits = {},
                                   pid_t* answered_by = nullptr);

// Has the process that serves at `path` start its successor, with `executable`
// or, where that is empty, as it is configured, and follows the handoff to its
// end: what became of it, without entries. `on_progress` is told how far it is,
// ten times a second at the most. Giving up, at `timeout`, ends nothing. Codes
// as Ask(), and
//
// FAILED_PRECONDITION  also: it starts no successor, for the reasons of
//                      Handoff::StartSuccessor(), or because there is no such
//                      executable, or it cannot be executed; or the process
//                      does not know the question
// INVALID_ARGUMENT     also: `executable` does not begin with a slash
// PERMISSION_DENIED    also: we may not choose one
// ABORTED              the successor ended before it took anything over
absl::StatusOr<v1::LedgerHandoff> AskToUpgrade(
    absl::string_view path, const std::string& executable,
    absl::Duration timeout,
    absl::FunctionRef<void(const v1::HandoffProgress&)> on_progress,
    const TrustPolicy& trust = {});

// Tells whoever serves at `path` what became of sessions that a handoff had
// left with this process, for its ledger. Codes as Ask().
absl::Status TellDrained(absl::string_view path,
                         const v1::DrainedSessions& drained,
                         absl::Duration timeout, const TrustPolicy& trust);

}  // namespace handoff

#endif  // HANDOFF_QUERY_H_
