// What has passed through a TCP connection.

#include <linux/sockios.h>
#include <linux/tcp.h>  // not netinet/tcp.h: its tcp_info lacks the counters
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "handoff/fd/fd_description.h"

namespace handoff {
namespace {

// The values of the kernel's enum in include/net/tcp_states.h, as tcpi_state
// gives them; netinet/tcp.h has them, linux/tcp.h has not.
enum TcpState {
  kEstablished = 1,
  kTimeWait = 6,
  kClose = 7,
  kCloseWait = 8,
  kLastAck = 9,
  kListen = 10,
  kClosing = 11,
};

bool ReadTcpInfo(int fd, tcp_info* info) {
  std::memset(info, 0, sizeof(*info));
  socklen_t length = sizeof(*info);
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length) == 0 &&
         length >= offsetof(tcp_info, tcpi_notsent_bytes) +
                       sizeof(info->tcpi_notsent_bytes) &&
         info->tcpi_state != kListen;
}

// Everything that was written is acknowledged: SIOCOUTQ would say 0.
bool NothingToSend(const tcp_info& info) {
  return info.tcpi_state == kEstablished && info.tcpi_unacked == 0 &&
         info.tcpi_notsent_bytes == 0;
}

v1::TcpCounters Counters(uint64_t consumed, uint64_t written) {
  v1::TcpCounters counters;
  counters.set_consumed(consumed);
  counters.set_written(written);
  return counters;
}

// Whether a FIN is among the bytes received. The state says so, but for CLOSE:
// there, a connection that both sides have ended has no error pending, and one
// that was reset or timed out has.
bool FinReceived(int fd, const tcp_info& info) {
  switch (info.tcpi_state) {
    case kTimeWait:
    case kCloseWait:
    case kLastAck:
    case kClosing:
      return true;
    case kClose: {
      // poll(2) looks at the error, SO_ERROR would take it away from the owner.
      pollfd events = {fd, 0, 0};
      return info.tcpi_bytes_received > 0 && ::poll(&events, 1, 0) >= 0 &&
             (events.revents & POLLERR) == 0;
    }
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<v1::TcpCounters> ReadTcpCounters(int fd) {
  tcp_info before;
  tcp_info after;
  int unread = 0;
  int unacknowledged = 0;
  if (!ReadTcpInfo(fd, &after)) {
    return absl::InvalidArgumentError(
        absl::StrCat("descriptor ", fd, " is no TCP connection"));
  }
  // The usual case, in two calls: nothing is left to read after the first, so
  // all that it counts is consumed.
  if (NothingToSend(after) && ::ioctl(fd, SIOCINQ, &unread) == 0 &&
      unread == 0) {
    return Counters(after.tcpi_bytes_received, after.tcpi_bytes_acked);
  }
  // Bytes that arrive, and acknowledgements, between the calls move what one of
  // them counts and not the other: read again until nothing has moved.
  do {
    before = after;
    if (::ioctl(fd, SIOCINQ, &unread) < 0 ||
        ::ioctl(fd, SIOCOUTQ, &unacknowledged) < 0 ||
        !ReadTcpInfo(fd, &after)) {
      return absl::ErrnoToStatus(errno, "the counters of a TCP connection");
    }
  } while (after.tcpi_bytes_received != before.tcpi_bytes_received ||
           after.tcpi_bytes_acked != before.tcpi_bytes_acked ||
           after.tcpi_state != before.tcpi_state);
  return Counters(
      after.tcpi_bytes_received - static_cast<uint64_t>(unread) -
          (FinReceived(fd, after) ? 1 : 0),
      after.tcpi_bytes_acked + static_cast<uint64_t>(unacknowledged));
}

}  // namespace handoff
