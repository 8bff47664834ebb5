#include "server/websocket_client_frames.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace handoff::server {
namespace {

constexpr char kMask[] = {0x12, '\xfe', 0x00, 0x77};

std::string BigEndian(uint64_t number, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) {
    text += static_cast<char>(number >> (8 * i) & 0xff);
  }
  return text;
}

uint64_t Number(absl::string_view bytes) {
  uint64_t number = 0;
  for (const char byte : bytes) {
    number = number << 8 | static_cast<unsigned char>(byte);
  }
  return number;
}

std::string Describe(uint8_t opcode, absl::string_view payload) {
  switch (opcode) {
    case kText:
      return absl::StrCat("text ", payload);
    case kClose:
      if (payload.empty()) return "close";
      return absl::StrCat("close ", Number(payload.substr(0, 2)),
                          payload.size() > 2 ? " " : "", payload.substr(2));
    case kPing:
      return absl::StrCat("ping ", payload);
    case kPong:
      return absl::StrCat("pong ", payload);
    default:
      return absl::StrCat("opcode ", opcode);
  }
}

}  // namespace

std::string ClientFrame::Bytes() const {
  int length = length_bytes;
  if (length < 0) {
    length = payload.size() < 126 ? 0 : payload.size() < 65536 ? 2 : 8;
  }
  std::string bytes;
  bytes += static_cast<char>((final_frame ? 0x80 : 0) | reserved << 4 | opcode);
  const size_t seven = length == 0 ? payload.size() : length == 2 ? 126 : 127;
  bytes += static_cast<char>((masked ? 0x80 : 0) | seven);
  bytes += BigEndian(payload.size(), length);
  if (!masked) return bytes + payload;
  bytes.append(kMask, sizeof(kMask));
  for (size_t i = 0; i < payload.size(); ++i) {
    bytes += static_cast<char>(payload[i] ^ kMask[i % sizeof(kMask)]);
  }
  return bytes;
}

std::string Frame(uint8_t opcode, absl::string_view payload, bool final_frame) {
  ClientFrame frame;
  frame.opcode = opcode;
  frame.payload = std::string(payload);
  frame.final_frame = final_frame;
  return frame.Bytes();
}

std::string CloseFrame(uint16_t code, absl::string_view reason) {
  return Frame(kClose, absl::StrCat(BigEndian(code, 2), reason));
}

std::vector<std::string> ServerFrames(absl::string_view bytes) {
  std::vector<std::string> frames;
  while (!bytes.empty()) {
    const std::string rest = absl::StrCat(
        "no whole frame: ", absl::CHexEscape(bytes.substr(0, 200)));
    if (bytes.size() < 2) return frames.push_back(rest), frames;
    const auto first = static_cast<unsigned char>(bytes[0]);
    size_t size = static_cast<unsigned char>(bytes[1]);
    size_t header = 2;
    if (size == 126 || size == 127) {
      const size_t length = size == 126 ? 2 : 8;
      if (bytes.size() < 2 + length) return frames.push_back(rest), frames;
      size = Number(bytes.substr(2, length));
      header += length;
    }
    // Final, without reserved bits and a mask, which would make it larger.
    if ((first & 0xf0) != 0x80 || bytes.size() - header < size) {
      return frames.push_back(rest), frames;
    }
    frames.push_back(Describe(first & 0x0f, bytes.substr(header, size)));
    bytes.remove_prefix(header + size);
  }
  return frames;
}

}  // namespace handoff::server
