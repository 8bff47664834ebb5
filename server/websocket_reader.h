#ifndef HANDOFF_SERVER_WEBSOCKET_READER_H_
#define HANDOFF_SERVER_WEBSOCKET_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/websocket_frame.h"

struct wslay_frame_context;

namespace handoff::server {

// Reads what a client says by WebSocket (RFC 6455) from bytes that come in any
// pieces. wslay finds the frames; messages are put together here.
//
// Invariant: between two calls everything that the reader knows is in
// in_message(), fragments() and input(). wslay's own state is opaque and cannot
// move, so all bytes of a frame that is not whole yet are kept, and another
// reader's wslay reads them again. No frame is acted on twice: one that is
// whole is not among them.
//
// Memory is bounded by twice the longest message, and what was appended.
//
// Not thread-safe.
class WebSocketReader {
 public:
  enum class Result {
    kMore,  // everything is looked at
    kText,  // a whole message: payload()
    kPing,  // payload()
    kPong,
    kClose,  // payload(), which may be said back as it is
    kFail,   // close_code() and problem(): read no further
  };

  explicit WebSocketReader(size_t max_message_bytes);
  ~WebSocketReader();

  void Append(absl::string_view bytes);
  // Up to the next result.
  Result Next();
  // There may be more than the beginning of a frame.
  bool has_unread() const { return !exhausted_ && !input().empty(); }

  // Of the last result; valid until the next call.
  absl::string_view payload() const { return payload_; }
  CloseCode close_code() const { return close_code_; }
  absl::string_view problem() const { return problem_; }

  // Frames of a message have come whole, and not the last one; what they had.
  bool in_message() const { return in_message_; }
  absl::string_view fragments() const;
  // From the first byte of the next frame that is not whole, or not looked at.
  absl::string_view input() const;

  // For a new reader. INVALID_ARGUMENT where it is no state of a reader.
  absl::Status Restore(bool in_message, absl::string_view fragments,
                       absl::string_view input);

 private:
  using Context =
      std::unique_ptr<wslay_frame_context, void (*)(wslay_frame_context*)>;

  struct Feed;

  Result Fail(CloseCode code, absl::string_view problem);
  // Of a frame whose header has come; kMore where it is fine.
  Result CheckHeader(uint8_t reserved, uint8_t opcode, bool masked,
                     uint64_t size);
  Result FrameEnds(bool final_frame, uint8_t opcode);
  Result CheckClose();
  void Consume(size_t bytes);

  const size_t max_message_bytes_;

  std::string buffer_;
  size_t begin_ = 0;  // of input()
  size_t fed_ = 0;    // up to here wslay has it
  // While wslay is in the middle of something: it has 4 KiB.
  Context context_;
  bool exhausted_ = true;

  bool in_message_ = false;
  std::string message_;
  size_t fragments_ = 0;  // bytes of message_ in frames that are whole

  bool in_frame_ = false;
  size_t frame_bytes_ = 0;  // of the whole frame
  uint64_t frame_received_ = 0;
  std::string control_;

  absl::string_view payload_;
  CloseCode close_code_ = CloseCode::kProtocolError;
  absl::string_view problem_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_WEBSOCKET_READER_H_
