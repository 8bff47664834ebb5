#include "server/websocket_reader.h"

#include <stdlib.h>
#include <string.h>
#include <utf8cpp/utf8.h>
#include <wslay/wslay.h>

#include <algorithm>

namespace handoff::server {
namespace {

// What is kept for the next message, of what the last one needed.
constexpr size_t kKeptCapacity = 4 * 1024;

void Empty(std::string* buffer) {
  if (buffer->capacity() > kKeptCapacity) {
    std::string().swap(*buffer);
  } else {
    buffer->clear();
  }
}

bool IsUtf8(absl::string_view text) {
  return utf8::find_invalid(text.begin(), text.end()) == text.end();
}

// Of a client's frame. wslay takes no length that is written longer than it has
// to be.
size_t FrameBytes(uint64_t payload) {
  constexpr size_t kShort = 2;
  constexpr size_t kMask = 4;
  const size_t length = payload < 126 ? 0 : payload < 65536 ? 2 : 8;
  return kShort + length + kMask + static_cast<size_t>(payload);
}

}  // namespace

struct WebSocketReader::Feed {
  static ssize_t More(uint8_t* to, size_t size, int /*flags*/, void* reader) {
    WebSocketReader& self = *static_cast<WebSocketReader*>(reader);
    const size_t n = std::min(size, self.buffer_.size() - self.fed_);
    memcpy(to, self.buffer_.data() + self.fed_, n);
    self.fed_ += n;
    return n == 0 ? -1 : static_cast<ssize_t>(n);
  }

  static Context MakeContext(WebSocketReader* reader) {
    const wslay_frame_callbacks callbacks = {nullptr, More, nullptr};
    wslay_frame_context_ptr made = nullptr;
    if (wslay_frame_context_init(&made, &callbacks, reader) != 0) {
      abort();  // there is no memory
    }
    return Context(made, wslay_frame_context_free);
  }
};

WebSocketReader::WebSocketReader(size_t max_message_bytes)
    : max_message_bytes_(max_message_bytes),
      context_(nullptr, wslay_frame_context_free) {}

WebSocketReader::~WebSocketReader() = default;

void WebSocketReader::Append(absl::string_view bytes) {
  if (bytes.empty()) return;
  buffer_.append(bytes.data(), bytes.size());
  exhausted_ = false;
}

absl::string_view WebSocketReader::input() const {
  return absl::string_view(buffer_).substr(begin_);
}

absl::string_view WebSocketReader::fragments() const {
  return absl::string_view(message_).substr(0, fragments_);
}

WebSocketReader::Result WebSocketReader::Next() {
  payload_ = {};
  // What payload() was.
  if (!in_frame_) {
    if (!in_message_) Empty(&message_);
    control_.clear();
  }
  if (input().empty()) return Result::kMore;
  if (context_ == nullptr) context_ = Feed::MakeContext(this);
  for (;;) {
    wslay_frame_iocb frame = {};
    const ssize_t n = wslay_frame_recv(context_.get(), &frame);
    if (n == WSLAY_ERR_WANT_READ) {
      exhausted_ = true;
      return Result::kMore;
    }
    if (n < 0) {
      return Fail(CloseCode::kProtocolError,
                  "a length or a control frame is malformed");
    }
    if (!in_frame_) {
      const Result bad = CheckHeader(frame.rsv, frame.opcode, frame.mask != 0,
                                     frame.payload_length);
      if (bad != Result::kMore) return bad;
      in_frame_ = true;
      frame_bytes_ = FrameBytes(frame.payload_length);
      frame_received_ = 0;
    }
    std::string& to = wslay_is_ctrl_frame(frame.opcode) ? control_ : message_;
    to.append(reinterpret_cast<const char*>(frame.data), frame.data_length);
    frame_received_ += frame.data_length;
    if (frame_received_ < frame.payload_length) continue;
    in_frame_ = false;
    Consume(frame_bytes_);
    const Result result = FrameEnds(frame.fin != 0, frame.opcode);
    if (result != Result::kMore) return result;
    if (input().empty()) return Result::kMore;
  }
}

WebSocketReader::Result WebSocketReader::CheckHeader(uint8_t reserved,
                                                     uint8_t opcode,
                                                     bool masked,
                                                     uint64_t size) {
  // Section 5.2: no extension was agreed on that could use them.
  if (reserved != 0) {
    return Fail(CloseCode::kProtocolError, "a reserved bit is set");
  }
  if (!masked) {
    return Fail(CloseCode::kProtocolError, "a client's frames have a mask");
  }
  switch (opcode) {
    case WSLAY_CONNECTION_CLOSE:
    case WSLAY_PING:
    case WSLAY_PONG:
      // wslay has looked at the rest (section 5.5).
      return Result::kMore;
    case WSLAY_CONTINUATION_FRAME:
      if (!in_message_) {
        return Fail(CloseCode::kProtocolError, "nothing to continue");
      }
      break;
    case WSLAY_TEXT_FRAME:
    case WSLAY_BINARY_FRAME:
      if (in_message_) {
        return Fail(CloseCode::kProtocolError,
                    "a message begins in the middle of another");
      }
      if (opcode == WSLAY_BINARY_FRAME) {
        return Fail(CloseCode::kUnsupportedData, "only text is spoken here");
      }
      break;
    default:
      return Fail(CloseCode::kProtocolError, "an opcode is unknown");
  }
  if (size > max_message_bytes_ - message_.size()) {
    return Fail(CloseCode::kMessageTooBig, "the message is too long");
  }
  return Result::kMore;
}

WebSocketReader::Result WebSocketReader::FrameEnds(bool final_frame,
                                                   uint8_t opcode) {
  switch (opcode) {
    case WSLAY_CONNECTION_CLOSE:
      payload_ = control_;
      return CheckClose();
    case WSLAY_PING:
      payload_ = control_;
      return Result::kPing;
    case WSLAY_PONG:
      payload_ = control_;
      return Result::kPong;
    default:
      break;
  }
  in_message_ = !final_frame;
  fragments_ = in_message_ ? message_.size() : 0;
  if (in_message_) return Result::kMore;
  if (!IsUtf8(message_)) {
    return Fail(CloseCode::kInvalidPayload, "the text is no UTF-8");
  }
  payload_ = message_;
  return Result::kText;
}

WebSocketReader::Result WebSocketReader::CheckClose() {
  if (control_.empty()) return Result::kClose;
  if (control_.size() == 1) {
    return Fail(CloseCode::kProtocolError, "half a close code");
  }
  const auto byte = [&](size_t at) {
    return static_cast<unsigned char>(control_[at]);
  };
  if (!MayBeSent(static_cast<uint16_t>(byte(0) << 8 | byte(1)))) {
    return Fail(CloseCode::kProtocolError, "a close code that nobody sends");
  }
  if (!IsUtf8(absl::string_view(control_).substr(2))) {
    return Fail(CloseCode::kInvalidPayload, "the reason is no UTF-8");
  }
  return Result::kClose;
}

void WebSocketReader::Consume(size_t bytes) {
  begin_ += bytes;
  if (begin_ < buffer_.size()) {
    // Not for each small frame.
    if (begin_ < kKeptCapacity) return;
    buffer_.erase(0, begin_);
    fed_ -= begin_;
    begin_ = 0;
    return;
  }
  Empty(&buffer_);
  begin_ = 0;
  fed_ = 0;
  // Between two frames wslay knows nothing.
  context_.reset();
  exhausted_ = true;
}

WebSocketReader::Result WebSocketReader::Fail(CloseCode code,
                                              absl::string_view problem) {
  close_code_ = code;
  problem_ = problem;
  buffer_.clear();
  begin_ = 0;
  fed_ = 0;
  context_.reset();
  exhausted_ = true;
  in_message_ = false;
  message_.clear();
  fragments_ = 0;
  in_frame_ = false;
  control_.clear();
  payload_ = {};
  return Result::kFail;
}

absl::Status WebSocketReader::Restore(bool in_message,
                                      absl::string_view fragments,
                                      absl::string_view input) {
  if (!in_message && !fragments.empty()) {
    return absl::InvalidArgumentError("a part of no message");
  }
  if (fragments.size() > max_message_bytes_) {
    return absl::InvalidArgumentError(
        "a message is longer than --ws_max_message_bytes");
  }
  in_message_ = in_message;
  message_.assign(fragments.data(), fragments.size());
  fragments_ = fragments.size();
  Append(input);
  return absl::OkStatus();
}

}  // namespace handoff::server
