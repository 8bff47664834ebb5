#ifndef HANDOFF_TRANSPORT_RENDEZVOUS_H_
#define HANDOFF_TRANSPORT_RENDEZVOUS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/fd/unique_fd.h"

// How two processes meet at a path. A path names one service; whoever listens
// there is its current process.
//
// Under flock(2) of PATH.lock, which is never removed (a lock file that is
// removed can be locked by two processes at once): connect; where nobody
// listens (ENOENT, ECONNREFUSED), bind a temporary name beside it, listen, and
// rename(2) it over the path. A socket that is bound but does not listen yet
// refuses like a stale one, so nothing but the lock tells them apart; and a
// full backlog gives EAGAIN, which is an error here, never a fresh start.
//
// The socket has mode 0600. The kernel goes on to give the temporary name,
// PATH.new, as its address.

namespace handoff {

struct Rendezvous {
  // Exactly one of the two is valid.
  UniqueFd predecessor;  // connected: somebody serves there
  UniqueFd listener;     // listening: nobody did, now we do
};

// INVALID_ARGUMENT     the path is empty, longer than 107 bytes (unix(7),
//                      sun_path), abstract, or in a folder that is not there or
//                      that others than its owner may write (a sticky folder
//                      such as /tmp is no protection: refused too); or there
//                      is a file at the path that is no socket
// PERMISSION_DENIED    the folder or a file there belongs to a user other than
//                      our effective one and root
// DEADLINE_EXCEEDED    somebody held the lock until `deadline`
// UNAVAILABLE          somebody listens but its queue is full (EAGAIN)
absl::StatusOr<Rendezvous> Meet(absl::string_view path, absl::Time deadline);

// Only connects, for tools: never creates anything. NOT_FOUND where nobody
// listens; else as Meet(), but root may connect to any user's service.
absl::StatusOr<UniqueFd> ConnectTo(absl::string_view path);

}  // namespace handoff

#endif  // HANDOFF_TRANSPORT_RENDEZVOUS_H_
