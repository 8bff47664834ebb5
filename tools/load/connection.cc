#include "tools/load/connection.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace handoff::load {
namespace {

// What a connection over a network has: loopback's own segment of 64 KiB makes
// the server's send buffer larger than any answer here.
constexpr int kSmallSegment = 1400;
constexpr int kSmallReceiveBuffer = 8192;

constexpr size_t kReadBuffer = 64 * 1024;

constexpr absl::string_view kClosed = "the server closed the connection";

Connection::Failure::Kind KindOf(int error) {
  using Kind = Connection::Failure::Kind;
  if (error == ECONNREFUSED) return Kind::kRefused;
  // EPIPE: of a reset that an earlier call has already told of.
  if (error == ECONNRESET || error == EPIPE) return Kind::kReset;
  return Kind::kOther;
}

}  // namespace

absl::Status Connection::Open(const sockaddr_in& server, bool small_buffers) {
  socket_ = Descriptor(
      socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_.valid()) return NotOpened("socket", errno);
  const int one = 1;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  if (small_buffers) {
    setsockopt(socket_.get(), IPPROTO_TCP, TCP_MAXSEG, &kSmallSegment,
               sizeof(kSmallSegment));
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &kSmallReceiveBuffer,
               sizeof(kSmallReceiveBuffer));
  }
  last_progress_ = loop_.now();
  opened_ = MonotonicNow();
  // Nothing of an earlier connection that has failed is gone on with.
  checker_.reset();
  planned_ = send_blocked_ = read_paused_ = false;
  if (connect(socket_.get(), reinterpret_cast<const sockaddr*>(&server),
              sizeof(server)) != 0 &&
      errno != EINPROGRESS) {
    return NotOpened("connect", errno);
  }
  state_ = State::kConnecting;
  watched_ = EPOLLIN | EPOLLOUT;
  const absl::Status added = loop_.Add(socket_.get(), watched_, this, &id_);
  return added.ok() ? added : NotOpened("epoll_ctl", errno);
}

absl::Status Connection::NotOpened(absl::string_view call, int error) {
  failure_ = {KindOf(error), false, absl::StrCat(call, ": ", strerror(error))};
  socket_.Reset();
  return absl::ErrnoToStatus(error, call);
}

void Connection::Close() {
  if (!socket_.valid()) return;
  loop_.Remove(socket_.get(), id_);
  socket_.Reset();
  state_ = State::kIdle;
}

void Connection::Start(Exchange exchange, absl::Duration pause, size_t hold) {
  exchange_ = std::move(exchange);
  pause_ = pause;
  hold_ = hold;
  planned_ = true;
  if (state_ == State::kIdle) Pause();
}

void Connection::Release() {
  if (!held()) return;
  hold_ = 0;
  state_ = State::kSending;
  last_progress_ = loop_.now();
  Send();
}

bool Connection::mid_request() const {
  return (state_ == State::kSending || state_ == State::kHeld) && sent_ > 0;
}

bool Connection::mid_answer() const {
  return checker_ != nullptr && checker_->started() && !checker_->done();
}

Connection::Waits Connection::waits() const {
  return {answer_wait_, since_open_, pace_.LongestBeyondUsual()};
}

void Connection::CheckPatience() {
  const bool waits = state_ != State::kIdle && state_ != State::kPausing &&
                     state_ != State::kHeld;
  if (waits && is_open() && MonotonicNow() - last_progress_ > kPatience) {
    Fail(absl::StrCat("no progress for ", absl::FormatDuration(kPatience)));
  }
}

void Connection::OnReady(uint32_t events) {
  if (state_ == State::kConnecting) {
    OnConnected();
    return;
  }
  if ((events & EPOLLOUT) != 0 && send_blocked_) Send();
  if (is_open() && (events & ~EPOLLOUT) != 0) Receive();
  Watch();
}

void Connection::OnTimer() {
  if (state_ == State::kPausing) {
    Begin();
  } else if (state_ == State::kSending) {
    Send();
  } else if (read_paused_) {
    read_paused_ = false;
    due_since_ = MonotonicNow();
  }
  Watch();
}

void Connection::OnConnected() {
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    FailWithErrno("connect", error);
    return;
  }
  state_ = State::kIdle;
  if (planned_) Pause();
  Watch();
}

void Connection::Pause() {
  state_ = State::kPausing;
  loop_.SetTimer(id_, loop_.now() + pause_);
}

void Connection::Begin() {
  // A close that has arrived meanwhile is seen before anything is sent after
  // it.
  char next;
  const ssize_t count =
      recv(socket_.get(), &next, sizeof(next), MSG_PEEK | MSG_DONTWAIT);
  if (count == 0) {
    Fail(kClosed, Failure::Kind::kClosed);
    return;
  }
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    FailWithErrno("recv", errno);
    return;
  }
  planned_ = false;
  ++begun_;
  checker_ = std::make_unique<AnswerChecker>(exchange_);
  sent_ = 0;
  answer_wait_ = absl::ZeroDuration();
  pace_.Start();
  state_ = State::kSending;
  last_progress_ = loop_.now();
  Send();
}

void Connection::Send() {
  const std::string& request = exchange_.request;
  size_t limit = hold_ == 0 ? request.size() : std::min(hold_, request.size());
  if (exchange_.send_piece != 0) {
    limit = std::min(limit, sent_ + exchange_.send_piece);
  }
  send_blocked_ = false;
  while (sent_ < limit) {
    const ssize_t count = send(socket_.get(), request.data() + sent_,
                               limit - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      send_blocked_ = true;
      Watch();
      return;
    }
    if (count < 0) {
      FailWithErrno("send", errno);
      return;
    }
    sent_ += count;
    last_progress_ = loop_.now();
  }
  if (sent_ == request.size()) {
    state_ = State::kReading;
    due_since_ = MonotonicNow();
  } else if (sent_ == hold_) {
    state_ = State::kHeld;
  } else {
    loop_.SetTimer(id_, loop_.now() + exchange_.send_interval);
  }
}

void Connection::Receive() {
  static std::array<char, kReadBuffer> buffer;
  size_t size = buffer.size();
  const bool slowly = exchange_.read_piece != 0 && state_ == State::kReading;
  if (slowly) size = std::min(size, exchange_.read_piece);
  const ssize_t count = recv(socket_.get(), buffer.data(), size, 0);
  if (count > 0) {
    last_progress_ = loop_.now();
    if (slowly) {
      read_paused_ = true;
      loop_.SetTimer(id_, loop_.now() + exchange_.read_interval);
    }
    Take({buffer.data(), static_cast<size_t>(count)});
  } else if (count == 0 && state_ == State::kEnding) {
    Finish();
  } else if (count == 0) {
    Fail(kClosed, Failure::Kind::kClosed);
  } else if (errno != EAGAIN && errno != EINTR) {
    FailWithErrno("recv", errno);
  }
}

void Connection::Take(absl::string_view bytes) {
  if (checker_ == nullptr || checker_->done() ||
      (state_ != State::kSending && state_ != State::kReading)) {
    Fail(absl::StrCat(bytes.size(), " bytes that nothing asked for"));
    return;
  }
  if (!checker_->started()) since_open_ = loop_.now() - opened_;
  if (state_ == State::kReading && !(exchange_.paced && checker_->started())) {
    answer_wait_ = std::max(answer_wait_, loop_.now() - due_since_);
    due_since_ = loop_.now();
  }
  if (exchange_.paced) pace_.Progress(loop_.now());
  const uint64_t checked = checker_->checked();
  if (absl::Status right = checker_->Consume(bytes); !right.ok()) {
    Fail(right.message());
    return;
  }
  owner_.OnChecked(checker_->checked() - checked);
  if (!is_open() || !checker_->done()) return;
  if (state_ != State::kReading) {
    Fail("the answer ended before the request did");
  } else if (exchange_.closes) {
    state_ = State::kEnding;
  } else {
    Finish();
  }
}

void Connection::Finish() {
  state_ = State::kIdle;
  read_paused_ = false;
  loop_.SetTimer(id_, absl::InfiniteFuture());
  owner_.OnAnswer(checker_->text());
}

void Connection::FailWithErrno(absl::string_view call, int error) {
  Fail(absl::StrCat(call, ": ", strerror(error)), KindOf(error));
}

void Connection::Fail(absl::string_view why, Failure::Kind kind) {
  failure_ = {kind, mid_request() || state_ == State::kReading,
              absl::StrCat(why)};
  // exchange_ may already be the next one.
  std::string where = absl::StrCat("after ", begun_, " exchanges");
  if (checker_ != nullptr && !planned_) {
    where = absl::StrCat(
        "in exchange ", begun_, ", ",
        exchange_.request.substr(0, exchange_.request.find(" HTTP")), ", ",
        sent_, " of ", exchange_.request.size(), " bytes sent, ",
        checker_->checked(), " of the body checked");
  }
  Close();
  owner_.OnFailure(absl::StrCat(why, " (", where, ")"));
}

void Connection::Watch() {
  if (!is_open()) return;
  uint32_t wanted = read_paused_ ? 0U : EPOLLIN;
  if (send_blocked_) wanted |= EPOLLOUT;
  if (wanted == watched_) return;
  if (absl::Status changed = loop_.Change(socket_.get(), wanted, id_);
      !changed.ok()) {
    Fail(changed.message());
    return;
  }
  watched_ = wanted;
}

}  // namespace handoff::load
