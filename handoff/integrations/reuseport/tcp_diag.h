#ifndef HANDOFF_INTEGRATIONS_REUSEPORT_TCP_DIAG_H_
#define HANDOFF_INTEGRATIONS_REUSEPORT_TCP_DIAG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace handoff {

// A TCP socket, or a handshake that is no socket yet, as the kernel lists it.
struct TcpEntry {
  std::string local;   // the address in network order, 4 or 16 bytes
  std::string remote;  // the same, and the port
  uint64_t inode = 0;  // 0: of no process
};

enum class TcpState { kListen, kHandshake };

// Those of this network namespace with this state and local port, of `family`
// (AF_INET or AF_INET6), by NETLINK_SOCK_DIAG (sock_diag(7)).
absl::StatusOr<std::vector<TcpEntry>> ListTcp(int family, TcpState state,
                                              uint16_t port);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_REUSEPORT_TCP_DIAG_H_
