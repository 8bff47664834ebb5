#ifndef TESTS_PROCESS_UDP_SERVICE_H_
#define TESTS_PROCESS_UDP_SERVICE_H_

#include <string>

namespace handoff {

// What the receive queues are made to hold: half a second at 20,000 datagrams a
// second, each of which the kernel counts as 768 bytes.
inline constexpr int kUdpQueueBytes = 8 * 1024 * 1024;

// The whole life of a process that answers each datagram at `socket` with the
// same bytes; a successor takes the socket from whoever serves at `path`, and a
// first process duplicates `socket`. Writes a byte to `ready` when it serves.
// Returns an exit code: 0 once handed over.
int RunUdpService(const std::string& path, int socket, int ready);

}  // namespace handoff

#endif  // TESTS_PROCESS_UDP_SERVICE_H_
