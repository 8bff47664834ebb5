#ifndef HANDOFF_SERVER_REQUEST_PARSER_H_
#define HANDOFF_SERVER_REQUEST_PARSER_H_

#include <http_parser.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/server_state.pb.h"
#include "server/service_info.h"

namespace handoff::server {

// A request as its header section describes it.
struct Request {
  http_method method = HTTP_GET;
  std::string target;
  int http_minor = 1;
  bool keep_alive = false;
  // "Expect: 100-continue", from a client that may expect it (HTTP/1.1).
  bool expects_continue = false;
  // Has a body of at least one byte, or a chunked one.
  bool has_body = false;
  // "Upgrade" names "websocket", and "Connection" names "Upgrade".
  bool upgrades_to_websocket = false;
  // What a handshake is judged by: Sec-WebSocket-Key and -Version, Origin and
  // Host, each as it came, or empty.
  std::string websocket_key;
  std::string websocket_version;
  std::string origin;
  std::string host;
};

// Reads one HTTP/1 request after another from bytes that come in any pieces.
//
// Invariant: between two calls of Parse() everything that the parser knows is
// in the members that Save() writes. It keeps no pointer into what it was
// given, so a request may be cut at any byte.
//
// Not thread-safe.
class RequestParser {
 public:
  enum class Result {
    // All bytes are consumed and the request goes on.
    kMore,
    // The header section is complete: request() is. Call again with the rest,
    // which is at least one byte.
    kHeaders,
    // The request is complete. Reset() before the next one.
    kRequest,
    // It is not acceptable: error_status() says how to answer.
    kError,
  };

  // Takes a piece of the body. Returns 0, or the HTTP status to fail with.
  using BodySink = absl::FunctionRef<int(absl::string_view piece)>;

  explicit RequestParser(const ConnectionLimits& limits) : limits_(limits) {
    Reset();
  }

  // Parses up to the next result; `bytes` is not empty. `*used` is how many
  // bytes of it are consumed.
  Result Parse(absl::string_view bytes, BodySink sink, size_t* used);

  // A byte of the request (other than blank lines before it) has been read.
  bool begun() const { return begun_; }
  bool headers_done() const { return headers_done_; }
  const Request& request() const { return request_; }
  int error_status() const { return error_status_; }

  void Reset();

  void Save(v1::Parser* state) const;

  // FAILED_PRECONDITION  the state is of another version of http-parser, whose
  //                      numbers may mean something else
  // INVALID_ARGUMENT     it is no state that a parser can have
  absl::Status Restore(const v1::Parser& state);

 private:
  struct Callbacks;

  int Fail(int status);
  int EndOfField();
  int CountHeaderBytes(size_t bytes);
  int HeadersComplete();
  int BodyPiece(absl::string_view piece);

  const ConnectionLimits& limits_;
  http_parser parser_;
  Request request_;
  bool begun_ = false;
  bool headers_done_ = false;
  // The header field that is being read, as far as it can matter.
  std::string field_;
  std::string value_;
  bool in_value_ = false;
  bool unknown_expectation_ = false;
  uint64_t header_bytes_ = 0;
  uint64_t body_bytes_ = 0;
  uint32_t hosts_ = 0;
  int error_status_ = 0;

  // Of the call of Parse() that runs.
  const BodySink* sink_ = nullptr;
  Result stopped_at_ = Result::kMore;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_REQUEST_PARSER_H_
