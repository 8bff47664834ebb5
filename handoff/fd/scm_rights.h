#ifndef HANDOFF_FD_SCM_RIGHTS_H_
#define HANDOFF_FD_SCM_RIGHTS_H_

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "handoff/fd/unique_fd.h"

// One datagram with its descriptors, over an AF_UNIX SOCK_SEQPACKET socket.
// The only code of the project that knows cmsghdr. All functions are
// thread-safe; none blocks (MSG_DONTWAIT), none raises SIGPIPE.

namespace handoff {

// The kernel allows 253 (SCM_MAX_FD, include/net/scm.h); musl's CMSG_SPACE was
// seen to fail at 253, so one fewer.
inline constexpr size_t kMaxDescriptorsPerMessage = 252;

// SO_SNDBUF of an unprivileged process is at most 212,992 bytes
// (net.core.wmem_max), which bounds a SEQPACKET message to 212,960. Frames stay
// well below: larger state travels in a memfd.
inline constexpr size_t kMaxMessageBytes = 128 * 1024;

// What the kernel itself says of the sender of one message.
struct SenderCredentials {
  pid_t pid = 0;  // 0: it lives in a pid namespace that we cannot see
  uid_t uid = 0;
  gid_t gid = 0;
};

struct ReceivedMessage {
  absl::string_view bytes;
  std::unique_ptr<char[]> memory;  // where they are, unless the caller had some
  // Owned from the instant of recvmsg(2), before anything is validated. All
  // have FD_CLOEXEC.
  std::vector<UniqueFd> descriptors;
  // Present where the receiving socket has SO_PASSCRED.
  absl::optional<SenderCredentials> credentials;
  // SCM_PIDFD, where the receiving socket has SO_PASSPIDFD (Linux 6.5).
  UniqueFd pidfd;
};

// Sends `bytes` and duplicates of `descriptors`, whole or not at all. The
// caller keeps its descriptors.
//
// INVALID_ARGUMENT    no bytes (a receiver could not tell it from end of file),
//                     more than kMaxMessageBytes, more than
//                     kMaxDescriptorsPerMessage, or one is not open
// UNAVAILABLE         the queue is full (EAGAIN, ENOBUFS, ENOMEM): wait for
//                     POLLOUT and call again
// RESOURCE_EXHAUSTED  ETOOMANYREFS: too many descriptors of this user are
//                     unread (unix(7)): wait for the receiver, call again
// ABORTED             the peer has closed (EPIPE, ECONNRESET, ENOTCONN)
// other codes         by absl::ErrnoToStatus
absl::Status SendMessage(int socket, absl::string_view bytes,
                         absl::Span<const int> descriptors);

// Receives one message of up to `max_bytes`, or of what `memory` has room for
// and then holds: for whoever receives many.
//
// UNAVAILABLE         nothing there yet (EAGAIN)
// OUT_OF_RANGE        end of file: the peer has closed, and everything that it
//                     sent has been read. Where it closed without having read
//                     all that we sent, the kernel says ECONNRESET once, ahead
//                     of what it sent: that is passed over, nothing is lost
// DATA_LOSS           MSG_TRUNC, MSG_CTRUNC (some descriptors did not fit into
//                     our table and are gone), or an empty message; what was
//                     received is closed
// other codes         by absl::ErrnoToStatus
absl::StatusOr<ReceivedMessage> ReceiveMessage(
    int socket, size_t max_bytes = kMaxMessageBytes);
absl::StatusOr<ReceivedMessage> ReceiveMessage(int socket,
                                               absl::Span<char> memory);

// Makes every later ReceiveMessage on `socket` (or, for a listener, on what it
// accepts) carry the sender's credentials and, where `want_pidfd` and the
// kernel knows it, a pidfd. A kernel without SO_PASSPIDFD is no error. Messages
// that we send from `socket` carry our credentials too.
absl::Status EnableSenderIdentity(int socket, bool want_pidfd = true);

}  // namespace handoff

#endif  // HANDOFF_FD_SCM_RIGHTS_H_
