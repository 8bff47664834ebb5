#ifndef HANDOFF_SERVER_ROUTE_H_
#define HANDOFF_SERVER_ROUTE_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "server/request_parser.h"

namespace handoff::server {

enum class Endpoint {
  kNone,
  kPage,
  kHealthz,
  kWhoami,
  kEcho,
  kStream,
  kMetrics,
  kWebSocket
};

// What a request asks for, or why it cannot have it. Follows from the request
// alone, so it is found again after a handoff and is no part of the state.
struct Route {
  Endpoint endpoint = Endpoint::kNone;
  // 200, 400, 404 or 405; unless 200, `problem` is the body of the answer.
  int status = 200;
  absl::string_view problem;
  absl::string_view allow;
  // Of kStream.
  uint64_t stream_bytes = 0;
  uint64_t stream_rate = 0;
};

Route FindRoute(const Request& request);

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_ROUTE_H_
