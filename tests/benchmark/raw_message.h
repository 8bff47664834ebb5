#ifndef TESTS_BENCHMARK_RAW_MESSAGE_H_
#define TESTS_BENCHMARK_RAW_MESSAGE_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

// The two ends of an AF_UNIX SOCK_SEQPACKET connection.
struct SocketPair {
  UniqueFd ours;
  UniqueFd theirs;
};
absl::StatusOr<SocketPair> MakeSocketPair();

// sendmsg(2) and recvmsg(2) of bytes with descriptors, and nothing besides: the
// buffers are there, nothing is owned, nothing is checked but that it worked.
// Not thread-safe.
class RawMessage {
 public:
  // Sends messages of `bytes` bytes with duplicates of `descriptors`.
  RawMessage(size_t bytes, absl::Span<const int> descriptors);

  absl::Status Send(int socket);
  // The descriptors that came are the caller's to close.
  absl::StatusOr<absl::Span<const int>> Receive(int socket);

 private:
  std::vector<char> sent_;
  std::vector<char> received_;
  std::vector<size_t> send_control_;  // aligned as a cmsghdr is
  std::vector<size_t> receive_control_;
  const size_t send_control_bytes_;
  const size_t descriptors_;
  std::vector<int> descriptors_received_;
};

}  // namespace handoff

#endif  // TESTS_BENCHMARK_RAW_MESSAGE_H_
