#ifndef HANDOFF_SERVER_WEBSOCKET_FRAME_H_
#define HANDOFF_SERVER_WEBSOCKET_FRAME_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace handoff::server {

// RFC 6455, section 7.4.1, and the registry that it made.
enum class CloseCode : uint16_t {
  kGoingAway = 1001,
  kProtocolError = 1002,
  kUnsupportedData = 1003,
  kInvalidPayload = 1007,
  kMessageTooBig = 1009,
  kServiceRestart = 1012,
  kTryAgainLater = 1013,
};

// Whether an endpoint may send it: not those that only a library reports of a
// connection (1005, 1006, 1015), nor those that nobody has defined.
bool MayBeSent(uint16_t close_code);

// Frames as a server writes them: whole messages, without a mask.
void AppendTextFrame(absl::string_view text, std::string* to);
void AppendPingFrame(std::string* to);
void AppendPongFrame(absl::string_view payload, std::string* to);
void AppendCloseFrame(CloseCode code, absl::string_view reason,
                      std::string* to);
// Says back what a Close frame's payload said.
void AppendCloseFrame(absl::string_view payload, std::string* to);

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_WEBSOCKET_FRAME_H_
