#include "tools/load/chat_client.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/load/connection.h"
#include "tools/load/json_member.h"

namespace handoff::load {
namespace {

// Between two texts of a member.
constexpr uint64_t kPauseMsLow = 1000;
constexpr uint64_t kPauseMsHigh = 3000;
// How long to wait for the others to join, and for a text to be told.
constexpr absl::Duration kLook = absl::Milliseconds(50);

// The key, and the answer that it must have, are RFC 6455's (section 1.3).
constexpr char kHandshake[] =
    "GET /ws HTTP/1.1\r\n"
    "Host: load\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr char kAccept[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
constexpr char kHeaderEnd[] = "\r\n\r\n";
constexpr size_t kMaxHandshake = 4096;

}  // namespace

ChatClient::ChatClient(ChatRoom* room, size_t number, uint64_t seed,
                       EventLoop* loop, Generations* generations, Tally* tally)
    : room_(*room),
      number_(number),
      loop_(*loop),
      generations_(*generations),
      tally_(*tally),
      random_(seed),
      check_(room->members, tally) {}

void ChatClient::Open(const sockaddr_in& server) {
  last_progress_ = loop_.now();
  socket_ = Descriptor(
      socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_.valid()) return Fail(strerror(errno));
  const int one = 1;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (connect(socket_.get(), reinterpret_cast<const sockaddr*>(&server),
              sizeof(server)) != 0 &&
      errno != EINPROGRESS) {
    return Fail(strerror(errno));
  }
  const absl::Status added = loop_.Add(socket_.get(), EPOLLOUT, this, &id_);
  if (!added.ok()) Fail(added.message());
}

void ChatClient::Close() {
  if (!socket_.valid()) return;
  if (id_ != 0) loop_.Remove(socket_.get(), id_);
  socket_.Reset();
}

void ChatClient::Fail(absl::string_view why) {
  if (ended()) return;
  lost_ = true;
  check_.Finish(room_.said);
  tally_.AddProblem(absl::StrCat("a member of a room: ", why));
  Close();
}

void ChatClient::CheckPatience() {
  if (!ended() && loop_.now() > last_progress_ + Connection::kPatience) {
    Fail("nothing comes any more");
  }
}

void ChatClient::OnReady(uint32_t) {
  last_progress_ = loop_.now();
  if (state_ == State::kHandshake) {
    Shake();
  } else {
    Exchange();
  }
}

// Writes the handshake when the connection is there, and reads its answer.
void ChatClient::Shake() {
  if (answer_.empty() && context_ == nullptr) {
    wslay_event_callbacks callbacks = {};
    callbacks.recv_callback = Receive;
    callbacks.send_callback = Send;
    callbacks.genmask_callback = MakeMask;
    callbacks.on_msg_recv_callback = OnMessage;
    wslay_event_context_ptr context = nullptr;
    if (wslay_event_context_client_init(&context, &callbacks, this) != 0) {
      return Fail("no memory");
    }
    context_.reset(context);
    // It fits into the buffer of a new socket, or the connection has failed.
    const ssize_t sent =
        send(socket_.get(), kHandshake, strlen(kHandshake), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(strlen(kHandshake))) {
      return Fail(absl::StrCat("connecting: ", strerror(errno)));
    }
    const absl::Status watched = loop_.Change(socket_.get(), EPOLLIN, id_);
    if (!watched.ok()) Fail(watched.message());
    return;
  }
  // A byte at a time: what follows the header is WebSocket.
  char byte;
  while (!absl::EndsWith(answer_, kHeaderEnd)) {
    const ssize_t got = recv(socket_.get(), &byte, 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0 || answer_.size() >= kMaxHandshake) {
      return Fail(absl::StrCat("the handshake ends with: ", answer_));
    }
    answer_ += byte;
  }
  if (!absl::StartsWith(answer_, "HTTP/1.1 101 ") ||
      !absl::StrContains(answer_, kAccept)) {
    return Fail(absl::StrCat("the handshake is answered: ", answer_));
  }
  state_ = State::kJoining;
  Write(absl::StrCat("{\"join\":\"", room_.name, "\",\"name\":\"", number_,
                     "\"}"));
  Exchange();
}

void ChatClient::Exchange() {
  const bool works = wslay_event_recv(context_.get()) == 0 &&
                     wslay_event_send(context_.get()) == 0;
  if (ended()) return;
  const bool closed = wslay_event_get_close_received(context_.get()) != 0;
  if (closed && state_ != State::kClosing) {
    return Fail(
        absl::StrCat("was closed with ",
                     wslay_event_get_status_code_received(context_.get())));
  }
  if (closed) {
    // The end is the server's to make (RFC 6455, section 7.1.1).
    char byte;
    const ssize_t got = recv(socket_.get(), &byte, 1, 0);
    if (got < 0 && errno == EAGAIN) return Watch();
    if (got != 0) return Fail("something came after the end");
    kept_ = true;
    return Close();
  }
  if (!works) {
    return Fail(end_of_file_ ? "the connection has ended"
                             : absl::StrCat("lost: ", strerror(errno)));
  }
  Watch();
}

void ChatClient::Watch() {
  uint32_t events = EPOLLIN;
  if (wslay_event_want_write(context_.get()) != 0) events |= EPOLLOUT;
  const absl::Status watched = loop_.Change(socket_.get(), events, id_);
  if (!watched.ok()) Fail(watched.message());
}

void ChatClient::OnTimer() {
  if (ended() || state_ != State::kTalking) return;
  if (winding_down_) return LeaveWhenDone();
  if (room_.joined == room_.members) Say();
  if (ended()) return;
  const uint64_t pause = std::uniform_int_distribution<uint64_t>(
      kPauseMsLow, kPauseMsHigh)(random_);
  loop_.SetTimer(
      id_, loop_.now() + (said_ == 0 ? kLook : absl::Milliseconds(pause)));
}

void ChatClient::Say() {
  ++room_.said;
  said_at_ = MonotonicNow();
  Write(absl::StrCat("{\"say\":\"", ChatText(number_, ++said_), "\"}"));
  Exchange();
}

void ChatClient::Write(absl::string_view text) {
  const wslay_event_msg message = {
      WSLAY_TEXT_FRAME, reinterpret_cast<const uint8_t*>(text.data()),
      text.size()};
  if (wslay_event_queue_msg(context_.get(), &message) != 0) {
    Fail("nothing more can be said");
  }
}

void ChatClient::OnText(absl::string_view json) {
  if (state_ == State::kJoining) {
    if (JsonMember(json, "joined") != room_.name) {
      return Fail(absl::StrCat("joining is answered: ", json));
    }
    state_ = State::kTalking;
    ++room_.joined;
    loop_.SetTimer(id_, loop_.now() + kLook);
    return;
  }
  const absl::StatusOr<ChatMessage> message = ParseChatMessage(json);
  if (!message.ok()) return Fail(message.status().message());
  if (absl::Status s = check_.Take(*message); !s.ok()) return Fail(s.message());
  const absl::StatusOr<size_t> generation = generations_.Index(message->pid);
  if (!generation.ok()) return Fail(generation.status().message());
  proven_ = std::max(proven_, *generation + 1);
  if (message->member == number_ && message->count == said_) {
    tally_.longest_answer_wait =
        std::max(tally_.longest_answer_wait, MonotonicNow() - said_at_);
  }
}

void ChatClient::LeaveWhenDone() {
  // The others may still talk a moment.
  if (check_.last_seq() < room_.said) {
    return loop_.SetTimer(id_, loop_.now() + kLook);
  }
  state_ = State::kClosing;
  if (wslay_event_queue_close(context_.get(), WSLAY_CODE_NORMAL_CLOSURE,
                              nullptr, 0) != 0) {
    return Fail("cannot say goodbye");
  }
  Exchange();
}

ssize_t ChatClient::Receive(wslay_event_context_ptr context, uint8_t* buffer,
                            size_t size, int, void* client) {
  auto& self = *static_cast<ChatClient*>(client);
  const ssize_t got = recv(self.socket_.get(), buffer, size, 0);
  if (got > 0) return got;
  self.end_of_file_ |= got == 0;
  wslay_event_set_error(context, got < 0 && errno == EAGAIN
                                     ? WSLAY_ERR_WOULDBLOCK
                                     : WSLAY_ERR_CALLBACK_FAILURE);
  return -1;
}

ssize_t ChatClient::Send(wslay_event_context_ptr context, const uint8_t* data,
                         size_t size, int, void* client) {
  auto& self = *static_cast<ChatClient*>(client);
  const ssize_t sent = send(self.socket_.get(), data, size, MSG_NOSIGNAL);
  if (sent >= 0) return sent;
  wslay_event_set_error(context, errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK
                                                 : WSLAY_ERR_CALLBACK_FAILURE);
  return -1;
}

int ChatClient::MakeMask(wslay_event_context_ptr, uint8_t* mask, size_t size,
                         void* client) {
  auto& self = *static_cast<ChatClient*>(client);
  std::generate_n(mask, size,
                  [&] { return static_cast<uint8_t>(self.random_()); });
  return 0;
}

void ChatClient::OnMessage(wslay_event_context_ptr,
                           const wslay_event_on_msg_recv_arg* message,
                           void* client) {
  auto& self = *static_cast<ChatClient*>(client);
  if (self.ended() || message->opcode != WSLAY_TEXT_FRAME) return;
  self.OnText(
      {reinterpret_cast<const char*>(message->msg), message->msg_length});
}

}  // namespace handoff::load
