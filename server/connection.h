#ifndef HANDOFF_SERVER_CONNECTION_H_
#define HANDOFF_SERVER_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/body_store.h"
#include "server/chat_member.h"
#include "server/connection_owner.h"
#include "server/request_parser.h"
#include "server/response.h"
#include "server/route.h"
#include "server/server_state.pb.h"
#include "server/service_info.h"
#include "server/stream.h"
#include "server/websocket_reader.h"

namespace handoff::server {

// The versions of v1::HttpConnection.
inline constexpr uint32_t kLowestStateVersion = 1;
inline constexpr uint32_t kHighestStateVersion = 3;

// Where the bytes of one read or write lie while it runs. One for each loop:
// a connection keeps nothing in it from one call to the next.
struct Scratch {
  char bytes[64 * 1024];
};

// One client: reads requests, writes answers; or, once it has asked for that,
// reads and writes WebSocket frames. Knows no event loop and reads no
// clock: it is told that its socket is ready and what time it is, acts with
// non-blocking system calls, and says what to wait for next.
//
// Invariants:
// - Between two calls, all that it knows of the client is in what Save(),
//   input() and output() give, so it can go on in another process from any
//   byte.
// - An answer that is being produced stops the reading of requests, so memory
//   is bounded: by Scratch for the input, by kOutputBytes and one header for
//   the output, by ConnectionLimits for a body.
// - So does output that waits: of WebSocket too no more is read then. What
//   other clients say is added nevertheless, up to ConnectionLimits.
//
// Time is that of CLOCK_MONOTONIC, as absl::FromUnixNanos() of it: it does not
// jump, and both sides of a handoff have the same.
//
// Not thread-safe.
class Connection final : private ChatMember::Client {
 public:
  enum class Next {
    kWait,   // for what the accessors below say
    kClose,  // end it: everything was written, or the client is gone
    kReset,  // end it: the client does not read
  };

  // Answers beyond this are not put together before some of it is written.
  static constexpr size_t kOutputBytes = 16 * 1024;

  // All are borrowed and outlive this; `fd` is a non-blocking stream socket.
  Connection(const ServiceInfo* info, ConnectionOwner* owner, Scratch* scratch,
             int fd, absl::Time now);

  Next OnReadable(absl::Time now);
  Next OnWritable(absl::Time now);
  // When `now` has reached wake_at() or deadline(); earlier it does nothing.
  Next OnTime(absl::Time now);
  // Is to end: at once where it is idle, else after the answer in flight. For
  // this connection; info->mode says so for all.
  Next OnDrain(absl::Time now);
  // Stays behind after a handoff: a WebSocket's client is to come to the
  // successor.
  Next OnRetire(absl::Time now);
  // Nothing more is to come from here, and nobody is to wait for it.
  void LeaveRooms();

  bool wants_read() const;
  bool wants_write() const;
  // When a stream may go on, or InfiniteFuture.
  absl::Time wake_at() const;
  // When the client has used up its time, or InfiniteFuture.
  absl::Time deadline() const;

  // `version` is one of kLowestStateVersion ... kHighestStateVersion.
  void Save(uint32_t version, v1::HttpConnection* state) const;
  // Read but not parsed; produced but not written. Valid until the next call.
  absl::string_view input() const;
  absl::string_view output() const;

  // Replaces everything by what a Connection of another process saved. Touches
  // neither the socket nor the body. After an error, use it no more.
  //
  // FAILED_PRECONDITION  of another version of http-parser, or a WebSocket in a
  //                      version that has none
  // INVALID_ARGUMENT     the parts do not fit together
  absl::Status Restore(uint32_t version, const v1::HttpConnection& state,
                       absl::string_view input, absl::string_view output,
                       int body_file, absl::Time now);

 private:
  enum class Answer { kNone, kEcho, kStream };
  enum class Flushed { kAll, kPartly, kFailed };

  struct WebSocket {
    WebSocket(size_t max_message_bytes, ChatDesk* desk,
              ChatMember::Client* client)
        : reader(max_message_bytes), member(desk, client) {}

    WebSocketReader reader;
    ChatMember member;
    bool pinged = false;
    // Our Close frame is out, the client's is awaited.
    bool closing = false;
  };

  // connection_request.cc: from bytes to answers.
  void Consume(absl::string_view* bytes, absl::Time now);
  void OnHeaders(absl::Time now);
  void OnRequest(absl::Time now);
  void Respond(ResponseHead head, absl::string_view body);
  void Fail(int status, absl::string_view problem, absl::string_view allow,
            absl::Time now);
  int StoreBody(absl::string_view piece);

  // connection_websocket.cc: from frames to frames.
  void Upgrade(absl::Time now);
  void BeginFrames();
  void TakeBytes(absl::string_view bytes, absl::Time now);
  void Heard(absl::Time now);
  void ReadFrames();
  void StartClosing(CloseCode code, absl::string_view reason);
  absl::Time FramesDeadline() const;
  Next OnFramesLate(absl::Time now);
  void SaveFrames(v1::WebSocket* state) const;
  absl::Status RestoreFrames(const v1::WebSocket& state,
                             absl::string_view input);
  // ChatMember::Client:
  void SendText(absl::string_view text) override;
  std::string Whoami() const override;
  void SendFrame(absl::string_view frame) override;
  void DeliverFrame(absl::string_view frame) override;

  // connection.cc: reading, writing, time.
  bool can_parse() const;
  bool has_unread() const;
  bool idle() const;
  bool draining() const;
  Next Advance(absl::Time now);
  Next GoOn(absl::Time now);
  Flushed Flush(absl::Time now, size_t* quota);
  // The next bytes to write, at most `limit`; none where none are due yet.
  absl::StatusOr<absl::string_view> Produce(absl::Time now, size_t limit);
  void Written(size_t bytes, absl::Time now);
  void FinishAnswer();
  Next EndPolitely(absl::Time now);
  Next Discard();

  const ServiceInfo* const info_;
  ConnectionOwner* const owner_;
  Scratch* const scratch_;
  const int fd_;

  RequestParser parser_;
  Route route_;  // of parser_.request(), once its header is complete
  uint64_t requests_ = 0;

  // Null while HTTP is spoken. Then input_ is empty.
  std::unique_ptr<WebSocket> websocket_;

  std::string input_;
  size_t input_used_ = 0;
  std::string output_;
  size_t output_used_ = 0;

  BodyStore body_;
  Answer answer_ = Answer::kNone;
  uint64_t echo_offset_ = 0;
  Stream stream_;
  // The stream has nothing due before stream_.NextDue().
  bool paced_ = false;

  bool client_ended_ = false;
  bool last_answer_ = false;
  bool lingering_ = false;
  bool drains_ = false;  // here: it does not move

  absl::Time waiting_since_;
  // InfiniteFuture: the socket takes what there is.
  absl::Time blocked_since_ = absl::InfiniteFuture();
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_CONNECTION_H_
