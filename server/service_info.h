#ifndef HANDOFF_SERVER_SERVICE_INFO_H_
#define HANDOFF_SERVER_SERVICE_INFO_H_

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"

namespace handoff::server {

// What one connection may cost. Each is a flag.
struct ConnectionLimits {
  // Request target, header names and header values. Below the 80 KiB that
  // http-parser itself allows for a header section.
  size_t max_header_bytes = 32 * 1024;
  uint64_t max_body_bytes = 64 * 1024 * 1024;
  // Between two requests.
  absl::Duration idle_timeout = absl::Seconds(60);
  // From the first byte of a request to the end of its header; then between two
  // pieces of its body.
  absl::Duration request_timeout = absl::Seconds(30);
  // For a client that reads nothing of its answer.
  absl::Duration write_timeout = absl::Seconds(120);

  // WebSocket: a message from a client, or to one.
  size_t ws_max_message_bytes = 1024 * 1024;
  // Written to a client that reads slowly.
  size_t ws_max_queue_bytes = 4 * 1024 * 1024;
  // A client that is silent so long is sent a ping, and is reset where it stays
  // silent for as long again.
  absl::Duration ws_ping = absl::Seconds(30);
};

// How long a client may take to read its last answer and close, before we do.
inline constexpr absl::Duration kLingerTimeout = absl::Seconds(5);

// While draining: how long a client that has not asked for anything may hold up
// the end. It may have connected just to ask whether this process drains.
inline constexpr absl::Duration kDrainIdleTimeout = absl::Seconds(1);

enum class Mode {
  kServing,
  // Handed off: what stayed here gets one more answer.
  kRetiring,
  // Asked to stop, or handed off and its watch is over: as kRetiring, and idle
  // connections are closed. Those that come until the end get their answer.
  kDraining,
};

// What all connections of a process share. Thread-safe: constant once it serves
// but for `mode` and what is counted.
struct ServiceInfo {
  pid_t pid = 0;
  std::string label;
  uint64_t generation = 0;
  ConnectionLimits limits;
  std::atomic<Mode> mode{Mode::kServing};
  // Requests that were answered, by the first digit of the status, from 1 on.
  mutable std::array<std::atomic<uint64_t>, 5> answers{};
  // What GET /metrics answers; null where there is nothing.
  std::function<std::string()> metrics;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_SERVICE_INFO_H_
