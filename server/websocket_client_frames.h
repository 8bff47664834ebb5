#ifndef HANDOFF_SERVER_WEBSOCKET_CLIENT_FRAMES_H_
#define HANDOFF_SERVER_WEBSOCKET_CLIENT_FRAMES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace handoff::server {

// RFC 6455's numbers, written down here once more: what is tested is not asked.
inline constexpr uint8_t kContinuation = 0x0;
inline constexpr uint8_t kText = 0x1;
inline constexpr uint8_t kBinary = 0x2;
inline constexpr uint8_t kClose = 0x8;
inline constexpr uint8_t kPing = 0x9;
inline constexpr uint8_t kPong = 0xa;

// A client's frame, right or wrong.
struct ClientFrame {
  uint8_t opcode = kText;
  std::string payload;
  bool final_frame = true;
  uint8_t reserved = 0;  // three bits
  bool masked = true;
  // Bytes of the length: 0 (7 bits), 2 or 8; -1 for the shortest.
  int length_bytes = -1;

  std::string Bytes() const;
};

std::string Frame(uint8_t opcode, absl::string_view payload,
                  bool final_frame = true);
// With the code before the reason.
std::string CloseFrame(uint16_t code, absl::string_view reason = "");

// What a server has sent: each frame as its opcode, and its payload, of a Close
// as "1002 reason": "text hello", "pong x", "close 1002 reason", "close". What
// is no frame of a server, or not a whole one, is told in the last.
std::vector<std::string> ServerFrames(absl::string_view bytes);

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_WEBSOCKET_CLIENT_FRAMES_H_
