#ifndef HANDOFF_SERVER_WEBSOCKET_HANDSHAKE_H_
#define HANDOFF_SERVER_WEBSOCKET_HANDSHAKE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "server/request_parser.h"

namespace handoff::server {

// How a GET of a WebSocket's address is answered (RFC 6455, section 4.2).
struct Handshake {
  // 101, 400, 403 or 426.
  int status = 101;
  // Unless 101, the body of the answer.
  absl::string_view problem;
  // Sec-WebSocket-Accept.
  std::string accept;
};

// Extensions and subprotocols that the client names are passed over, which
// refuses them. A page of another origin than the request's host is refused: a
// browser sends what it has for this host whoever asks it to. Who sends no
// Origin is no browser.
Handshake CheckHandshake(const Request& request);

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_WEBSOCKET_HANDSHAKE_H_
