#ifndef HANDOFF_TOOLS_LOAD_EXCHANGE_H_
#define HANDOFF_TOOLS_LOAD_EXCHANGE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tools/load/response_reader.h"

namespace handoff::load {

// One request and what has to come back.
struct Exchange {
  // As it goes over the wire.
  std::string request;
  // Sent a piece at a time, so long apart; 0: as fast as it goes.
  size_t send_piece = 0;
  absl::Duration send_interval;
  // The same for the answer's bytes, from the client's side: a client that
  // reads slowly, so that the server is left with bytes it cannot write.
  size_t read_piece = 0;
  absl::Duration read_interval;

  // The answer's body: this text; or, where it is empty, `length` bytes of the
  // pattern from `offset`; or, where that is 0 too, anything, up to kMaxText.
  std::string text;
  uint64_t offset = 0;
  uint64_t length = 0;
  // The server sends the body at a steady rate.
  bool paced = false;
  // The server has to close the connection after the answer.
  bool closes = false;
};

// GET /healthz, alone on its connection.
Exchange HealthOnce();
// GET /whoami.
Exchange Whoami();
// GET /stream.
Exchange Stream(uint64_t bytes, uint64_t bytes_per_second);
// POST /echo of the pattern, with a Content-Length or in chunks.
Exchange Echo(uint64_t offset, size_t length, bool chunked);

// Reads the answer to one exchange and checks every byte of it. Not
// thread-safe. The exchange outlives it.
class AnswerChecker {
 public:
  static constexpr size_t kMaxText = 4096;

  explicit AnswerChecker(const Exchange& exchange) : exchange_(exchange) {}

  // DATA_LOSS  the body is not what it has to be: a byte, its length
  // INVALID_ARGUMENT, OUT_OF_RANGE  see ResponseReader
  // FAILED_PRECONDITION  another status than 200
  absl::Status Consume(absl::string_view bytes);

  bool started() const { return reader_.started(); }
  bool done() const { return reader_.done(); }
  // Whether the server said that it closes the connection after this answer.
  bool closes() const { return reader_.closes(); }
  // Of the body, and found right.
  uint64_t checked() const { return checked_; }
  // The body, where the exchange expects no pattern.
  const std::string& text() const { return text_; }

 private:
  absl::Status CheckBody(absl::string_view piece);

  const Exchange& exchange_;
  ResponseReader reader_;
  uint64_t checked_ = 0;
  std::string text_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_EXCHANGE_H_
