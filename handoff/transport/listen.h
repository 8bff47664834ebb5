#ifndef HANDOFF_TRANSPORT_LISTEN_H_
#define HANDOFF_TRANSPORT_LISTEN_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

struct ListenOptions {
  int backlog = 4096;
  // TCP: shares the address with others of this user that share it as well
  // (SO_REUSEPORT, socket(7)).
  bool reuse_port = false;
  // TCP: false: only bound. Until somebody calls listen(2), nobody can connect
  // to it, and others that share the address get all connections.
  bool listen = true;
};

// A listening stream socket, non-blocking and CLOEXEC, at "tcp:HOST:PORT",
// "tcp:[v6]:PORT" (port 0: the kernel picks one) or "unix:/path". HOST is an
// address or a name; a name's first address is taken. TCP sockets get
// SO_REUSEADDR. A Unix path where no socket is open any more is replaced by
// rename(2), so the kernel goes on to give a temporary name as its address. Two
// processes that replace one stale path at the same instant are not told apart.
//
// INVALID_ARGUMENT  the address is malformed, or abstract ("unix:@name"), or a
//                   path longer than 107 bytes, or not to be shared
// ALREADY_EXISTS    the address is in use, or the path is that of another file
// NOT_FOUND         the host name or the socket's folder does not exist
// other codes       by absl::ErrnoToStatus
absl::StatusOr<UniqueFd> BindListener(absl::string_view address,
                                      const ListenOptions& options = {});

// One more TCP socket at the address, and for the interface, of `listener`,
// which has SO_REUSEPORT (in a group of one user's, socket(7)); borrowed. Only
// bound, see ListenOptions::listen; non-blocking and CLOEXEC. Of the other
// options of `listener` only IPV6_V6ONLY is copied.
//
// FAILED_PRECONDITION  `listener` is no TCP socket, or has no SO_REUSEPORT
// ALREADY_EXISTS       it belongs to another user
// other codes          by absl::ErrnoToStatus
absl::StatusOr<UniqueFd> BindBeside(int listener);

}  // namespace handoff

#endif  // HANDOFF_TRANSPORT_LISTEN_H_
