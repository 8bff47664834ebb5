#ifndef HANDOFF_INTEGRATIONS_REUSEPORT_REUSEPORT_H_
#define HANDOFF_INTEGRATIONS_REUSEPORT_REUSEPORT_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/fd/unique_fd.h"

// For two processes that share nothing, not even a handoff socket, and listen
// at one TCP address with SO_REUSEPORT (socket(7)). The new one binds and
// serves; then the old one leaves:
//
//   old   auto listener = BindReuseport("tcp:0.0.0.0:80");
//   new   auto listener = BindReuseport("tcp:0.0.0.0:80");   // and serves
//   old   LeaveReuseport(*listener, deadline, serve);
//         listener->reset();
//
// A plain close(2) would reset every connection that waits in the listener's
// queue, and every handshake that completes later. Connections that were
// accepted stay where they are: where they are to move too, use a Handoff,
// which needs none of this.
//
// All functions are thread-safe.

namespace handoff {

// A listening socket at "tcp:HOST:PORT" or "tcp:[v6]:PORT" that shares its
// address with others of this user (SO_REUSEPORT). Codes of BindListener();
// ALREADY_EXISTS also where the other one has not set the option.
absl::StatusOr<UniqueFd> BindReuseport(absl::string_view address,
                                       int backlog = 4096);

// Has the listener of the new process get every new connection, and blocks
// until this one, `listener`, can be closed with nothing lost: a reuseport
// program (SO_ATTACH_REUSEPORT_CBPF, socket(7); takes no privilege) chooses the
// other one for each SYN, and every handshake that had begun before has come to
// its end (sock_diag(7)) and been accepted. Each such connection goes to
// `accepted`, on this thread. `listener` is borrowed, non-blocking; the caller
// may go on accepting from it meanwhile, and closes it afterwards.
//
// The two must be the only ones at the address, one listener each, and the
// other one the younger: the kernel numbers them in the order of listen(2).
//
// FAILED_PRECONDITION  they are not two; nothing was changed
// DEADLINE_EXCEEDED    some handshakes have not come to their end: closing
//                      resets them, unless net.ipv4.tcp_migrate_req is 1
//                      (then the kernel gives them to the other one). New
//                      connections go to the other one all the same
// INVALID_ARGUMENT     `listener` is no TCP listener
// other codes          by absl::ErrnoToStatus
absl::Status LeaveReuseport(int listener, absl::Time deadline,
                            absl::FunctionRef<void(UniqueFd)> accepted);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_REUSEPORT_REUSEPORT_H_
