#include "tests/benchmark/tcp_connection.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"

namespace handoff {

absl::StatusOr<std::vector<TcpConnection>> MakeTcpConnections(size_t count) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (!listener.valid() || ::bind(listener.get(), any, length) < 0 ||
      ::listen(listener.get(), 1) < 0 ||
      ::getsockname(listener.get(), any, &length) < 0) {
    return absl::ErrnoToStatus(errno, "a listener on the loopback interface");
  }
  std::vector<TcpConnection> connections;
  for (size_t i = 0; i < count; ++i) {
    UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!client.valid() || ::connect(client.get(), any, length) < 0) {
      return absl::ErrnoToStatus(errno, "connect");
    }
    UniqueFd accepted(
        ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!accepted.valid()) return absl::ErrnoToStatus(errno, "accept4");
    connections.push_back({std::move(client), std::move(accepted)});
  }
  return connections;
}

uint64_t RawCookie(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  return ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0 ? 0
                                                                       : cookie;
}

}  // namespace handoff
