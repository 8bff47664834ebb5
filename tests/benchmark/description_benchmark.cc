// What a connected TCP socket is, and what has passed through it.

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "handoff/fd/fd_description.h"
#include "proto/handoff.pb.h"
#include "tests/benchmark/part.h"
#include "tests/benchmark/tcp_connection.h"

namespace handoff {
namespace {

absl::Status Wrong(absl::string_view what) {
  return absl::InternalError(
      absl::StrCat(what, " does not say what it should"));
}

// Runs `operation`, an absl::Status(int fd), with a connection.
template <typename Operation>
std::function<void(Measure&)> WithConnection(Operation operation) {
  return [operation](Measure& measure) {
    const absl::StatusOr<std::vector<TcpConnection>> connections =
        MakeTcpConnections(1);
    if (!connections.ok()) return measure.Fail(connections.status());
    const int fd = connections->front().accepted.get();
    measure.Run([&] { return operation(fd); });
  };
}

absl::Status Cookie(int fd) {
  return RawCookie(fd) != 0 ? absl::OkStatus() : Wrong("SO_COOKIE");
}

bool TcpInfo(int fd) {
  tcp_info info;
  socklen_t length = sizeof(info);
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
         info.tcpi_state == 1;  // ESTABLISHED
}

absl::Status OneTcpInfo(int fd) {
  return TcpInfo(fd) ? absl::OkStatus() : Wrong("TCP_INFO");
}

// The calls without which no description can be made, and nothing of it.
absl::Status CallsOfDescription(int fd) {
  sockaddr_storage address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  if (::getsockname(fd, any, &length) < 0) return Wrong("getsockname");
  length = sizeof(address);
  if (::getpeername(fd, any, &length) < 0) return Wrong("getpeername");
  int protocol = 0;
  length = sizeof(protocol);
  if (::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) < 0 ||
      protocol != IPPROTO_TCP) {
    return Wrong("SO_PROTOCOL");
  }
  return Cookie(fd);
}

absl::Status CallsOfCounters(int fd) {
  int unread = 0;
  int unacknowledged = 0;
  if (!TcpInfo(fd) || ::ioctl(fd, SIOCINQ, &unread) < 0 ||
      ::ioctl(fd, SIOCOUTQ, &unacknowledged) < 0) {
    return Wrong("TCP_INFO, SIOCINQ or SIOCOUTQ");
  }
  return absl::OkStatus();
}

absl::Status Describe(int fd) {
  const absl::StatusOr<v1::DescriptorInfo> info = DescribeDescriptor(fd);
  if (!info.ok()) return info.status();
  return info->kind() == v1::DescriptorInfo::TCP ? absl::OkStatus()
                                                 : Wrong("DescribeDescriptor");
}

void Check(Measure& measure) {
  const absl::StatusOr<std::vector<TcpConnection>> connections =
      MakeTcpConnections(1);
  if (!connections.ok()) return measure.Fail(connections.status());
  const int fd = connections->front().accepted.get();
  const absl::StatusOr<v1::DescriptorInfo> info = DescribeDescriptor(fd);
  if (!info.ok()) return measure.Fail(info.status());
  measure.Run([&] { return CheckDescriptor(fd, *info); });
}

absl::Status Counters(int fd) {
  const absl::StatusOr<v1::TcpCounters> counters = ReadTcpCounters(fd);
  if (!counters.ok()) return counters.status();
  return counters->consumed() == 0 ? absl::OkStatus() : Wrong("consumed");
}

const bool kRegistered = [] {
  const Part describe("description: describe a TCP connection", "descriptor");
  describe.Handoff(WithConnection(Describe));
  const Part check("description: check a TCP connection", "descriptor");
  check.Handoff(Check);
  for (const Part* part : {&describe, &check}) {
    part->Bound("getsockname, getpeername, SO_PROTOCOL, SO_COOKIE",
                WithConnection(CallsOfDescription));
    part->Bound("SO_COOKIE", WithConnection(Cookie));
  }
  const Part counters("description: counters of a TCP connection",
                      "descriptor");
  counters.Handoff(WithConnection(Counters));
  counters.Bound("TCP_INFO, SIOCINQ, SIOCOUTQ",
                 WithConnection(CallsOfCounters));
  counters.Bound("TCP_INFO", WithConnection(OneTcpInfo));
  counters.Bound("SO_COOKIE", WithConnection(Cookie));
  return true;
}();

}  // namespace
}  // namespace handoff
