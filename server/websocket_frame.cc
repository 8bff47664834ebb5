#include "server/websocket_frame.h"

#include <stdlib.h>
#include <wslay/wslay.h>

#include <memory>

namespace handoff::server {
namespace {

ssize_t Take(const uint8_t* data, size_t size, int /*flags*/, void* to) {
  static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(data),
                                        size);
  return static_cast<ssize_t>(size);
}

void AppendFrame(wslay_opcode opcode, absl::string_view payload,
                 std::string* to) {
  const wslay_frame_callbacks callbacks = {Take, nullptr, nullptr};
  wslay_frame_context_ptr made = nullptr;
  if (wslay_frame_context_init(&made, &callbacks, to) != 0) {
    abort();  // there is no memory
  }
  const std::unique_ptr<wslay_frame_context, void (*)(wslay_frame_context_ptr)>
      context(made, wslay_frame_context_free);
  wslay_frame_iocb frame = {};
  frame.fin = 1;
  frame.opcode = static_cast<uint8_t>(opcode);
  frame.payload_length = payload.size();
  frame.data = reinterpret_cast<const uint8_t*>(payload.data());
  frame.data_length = payload.size();
  // All of it in one call: Take() refuses nothing.
  wslay_frame_send(context.get(), &frame);
}

}  // namespace

bool MayBeSent(uint16_t code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

void AppendTextFrame(absl::string_view text, std::string* to) {
  AppendFrame(WSLAY_TEXT_FRAME, text, to);
}

void AppendPingFrame(std::string* to) { AppendFrame(WSLAY_PING, {}, to); }

void AppendPongFrame(absl::string_view payload, std::string* to) {
  AppendFrame(WSLAY_PONG, payload, to);
}

void AppendCloseFrame(CloseCode code, absl::string_view reason,
                      std::string* to) {
  const auto number = static_cast<uint16_t>(code);
  std::string payload = {static_cast<char>(number >> 8),
                         static_cast<char>(number & 0xff)};
  payload.append(reason.data(), reason.size());
  AppendCloseFrame(payload, to);
}

void AppendCloseFrame(absl::string_view payload, std::string* to) {
  AppendFrame(WSLAY_CONNECTION_CLOSE, payload, to);
}

}  // namespace handoff::server
