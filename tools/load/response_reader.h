#ifndef HANDOFF_TOOLS_LOAD_RESPONSE_READER_H_
#define HANDOFF_TOOLS_LOAD_RESPONSE_READER_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace handoff::load {

// Reads one HTTP/1.1 response from bytes that come in pieces of any size. It
// touches no socket. Strict, because it is there to notice what went wrong: the
// body has a Content-Length or is chunked, and nothing may follow it (the load
// never pipelines, so a byte after the end belongs to nobody).
//
// Not thread-safe.
class ResponseReader {
 public:
  // No header block of the server comes near this.
  static constexpr size_t kMaxHead = 16 * 1024;

  // Called with each piece of the body, without the chunks' framing. An error
  // ends Consume() with it.
  using OnBody = absl::FunctionRef<absl::Status(absl::string_view piece)>;

  // INVALID_ARGUMENT  not a response, or not one that this reader knows
  // OUT_OF_RANGE      bytes after the end of the response
  // After an error the reader is of no further use.
  absl::Status Consume(absl::string_view bytes, OnBody on_body);

  // Whether the first byte, the header block, the last byte were there.
  bool started() const { return started_; }
  bool has_head() const { return state_ != State::kHead; }
  bool done() const { return state_ == State::kDone; }

  // From has_head() on.
  int status_code() const { return status_code_; }
  // Whether the server said that it closes the connection after this response.
  bool closes() const { return closes_; }

 private:
  enum class State {
    kHead,
    kBody,
    kChunkSize,
    kChunk,
    kChunkEnd,
    kTrailer,
    kDone
  };

  absl::Status ParseHead();
  absl::Status ParseLine();
  // Moves up to and including the next line's end from `bytes` to text_; true
  // once text_ is a whole line, which then has no line end.
  bool TakeLine(absl::string_view* bytes);

  State state_ = State::kHead;
  bool started_ = false;
  bool closes_ = false;
  int status_code_ = 0;
  // Of the body or the chunk.
  uint64_t remaining_ = 0;
  // The header block or the line, as far as it has come.
  std::string text_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_RESPONSE_READER_H_
