#ifndef HANDOFF_SERVER_RESPONSE_H_
#define HANDOFF_SERVER_RESPONSE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace handoff::server {

// What a response says of the connection it came by.
enum class Persistence {
  kDefault,    // nothing: HTTP/1.1 keeps it
  kKeepAlive,  // an HTTP/1.0 client that asked for it has to be told
  kClose,
};

struct ResponseHead {
  int status = 200;
  Persistence persistence = Persistence::kDefault;
  uint64_t content_length = 0;
  absl::string_view content_type = "text/plain";
  // Of a 405; else empty.
  absl::string_view allow;
  // Of a 426: what to change to.
  bool names_websocket = false;
};

void AppendHead(const ResponseHead& head, std::string* to);

// The interim response to "Expect: 100-continue".
void AppendContinue(std::string* to);

// What follows it is WebSocket. `accept` is Sec-WebSocket-Accept.
void AppendSwitchToWebSocket(absl::string_view accept, std::string* to);

// `text` as a JSON string, quotes included.
void AppendJsonString(absl::string_view text, std::string* to);

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_RESPONSE_H_
