#ifndef HANDOFF_FD_FD_DESCRIPTION_H_
#define HANDOFF_FD_FD_DESCRIPTION_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/handoff.pb.h"

// What a descriptor is, by the kernel's word. All functions are thread-safe and
// borrow `fd`.

namespace handoff {

// Kind, identity (SO_COOKIE of a socket; st_dev and st_ino of anything else)
// and addresses of `fd`. FAILED_PRECONDITION where `fd` is not open.
//
// What has no file of its own (eventfd, timerfd, inotify, signalfd, epoll, and
// before Linux 6.9 pidfd) shares one inode with all of them: of these only the
// kind is certain. Bytes of a Unix path that are not printable ASCII are
// escaped as in C.
absl::StatusOr<v1::DescriptorInfo> DescribeDescriptor(int fd);

// OK where `fd` is what `claimed` says: same kind, same identity, same local
// address. FAILED_PRECONDITION otherwise, with both sides in the message.
//
// The peer's address is not compared: it vanishes with the connection (ENOTCONN
// after a reset), the identity does not. Nor is the local one of a TCP socket
// that is not connected any more: connect(AF_UNSPEC) takes it away; nor that of
// a socket that was bound to none when it was described.
//
// Of a TCP connection its cookie may be all that is claimed, without addresses:
// they come by the thousand, and this is one system call in place of four. It
// proves as much: the kernel gives no cookie twice (net/core/sock_diag.c, for
// all network namespaces since Linux 5.4).
absl::Status CheckDescriptor(int fd, const v1::DescriptorInfo& claimed);

// SO_COOKIE of a socket (socket(7)). Codes by absl::ErrnoToStatus.
absl::StatusOr<uint64_t> SocketCookie(int fd);

// OK where a descriptor of this kind works in another process;
// INVALID_ARGUMENT with the reason where it does not: io_uring (the kernel
// refuses to pass it, EINVAL) and KIND_UNSPECIFIED.
absl::Status CheckPassable(v1::DescriptorInfo::Kind kind);

// For people: "tcp 127.0.0.1:80 <- 127.0.0.1:5555", "listener 127.0.0.1:80".
std::string FormatDescriptor(const v1::DescriptorInfo& info);

// The lower-case name of a kind: "tcp", "tcp-listener", "memfd".
absl::string_view KindName(v1::DescriptorInfo::Kind kind);

// What has passed through the TCP connection `fd`, exact and the same through
// any duplicate, from TCP_INFO, SIOCINQ and SIOCOUTQ (tcp(7)):
//   consumed = tcpi_bytes_received - SIOCINQ
//   written  = tcpi_bytes_acked + SIOCOUTQ
// in two system calls where both queues are empty and nobody else reads from or
// writes to it meanwhile, in at least four elsewhere.
// A FIN that has been received adds one to tcpi_bytes_received; it is taken off
// by the state (CLOSE_WAIT, LAST_ACK, CLOSING, TIME_WAIT, and CLOSE without a
// pending error). One too many is counted after a FIN and then a reset, and
// where a FIN comes between two loads of the kernel's within one call.
// Only differences between two readings mean something: `written` counts the
// SYN of a connection that this end opened, and a FIN that it sent.
//
// INVALID_ARGUMENT where `fd` is no TCP connection.
absl::StatusOr<v1::TcpCounters> ReadTcpCounters(int fd);

}  // namespace handoff

#endif  // HANDOFF_FD_FD_DESCRIPTION_H_
