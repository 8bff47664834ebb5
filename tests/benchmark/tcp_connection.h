#ifndef TESTS_BENCHMARK_TCP_CONNECTION_H_
#define TESTS_BENCHMARK_TCP_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

// A TCP connection over the loopback interface.
struct TcpConnection {
  UniqueFd client;
  UniqueFd accepted;
};
absl::StatusOr<std::vector<TcpConnection>> MakeTcpConnections(size_t count);

// getsockopt(SO_COOKIE); 0 where that fails.
uint64_t RawCookie(int fd);

}  // namespace handoff

#endif  // TESTS_BENCHMARK_TCP_CONNECTION_H_
