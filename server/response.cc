#include "server/response.h"

#include <http_parser.h>

#include "absl/strings/str_cat.h"

namespace handoff::server {

void AppendHead(const ResponseHead& head, std::string* to) {
  absl::StrAppend(to, "HTTP/1.1 ", head.status, " ",
                  http_status_str(static_cast<http_status>(head.status)),
                  "\r\nContent-Length: ", head.content_length,
                  "\r\nContent-Type: ", head.content_type, "\r\n");
  if (!head.allow.empty()) {
    absl::StrAppend(to, "Allow: ", head.allow, "\r\n");
  }
  if (head.names_websocket) {
    absl::StrAppend(to,
                    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\n");
  }
  switch (head.persistence) {
    case Persistence::kDefault:
      break;
    case Persistence::kKeepAlive:
      absl::StrAppend(to, "Connection: keep-alive\r\n");
      break;
    case Persistence::kClose:
      absl::StrAppend(to, "Connection: close\r\n");
      break;
  }
  absl::StrAppend(to, "\r\n");
}

void AppendContinue(std::string* to) {
  absl::StrAppend(to, "HTTP/1.1 100 Continue\r\n\r\n");
}

void AppendSwitchToWebSocket(absl::string_view accept, std::string* to) {
  absl::StrAppend(to,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Accept: ",
                  accept, "\r\n\r\n");
}

void AppendJsonString(absl::string_view text, std::string* to) {
  to->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      to->push_back('\\');
      to->push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppend(
          to, "\\u", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad4));
    } else {
      to->push_back(c);
    }
  }
  to->push_back('"');
}

}  // namespace handoff::server
