#include "server/peer.h"

#include <time.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace handoff::server {
namespace {

constexpr char kBody[] = "body";

}  // namespace

absl::Time MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::TimeFromTimespec(now);
}

Peer::Peer(Keeper* keeper, boost::asio::io_context* loop,
           const ServiceInfo* info, Scratch* scratch,
           std::shared_ptr<Session> session)
    : keeper_(keeper),
      loop_(loop),
      info_(info),
      scratch_(scratch),
      session_(std::move(session)),
      socket_(*loop) {}

Peer::~Peer() { Unregister(); }

absl::Status Peer::Register() {
  const int fd = session_->fd(kClient);
  if (fd < 0) return absl::InvalidArgumentError("a session without a client");
  if (socket_.is_open()) {
    if (socket_.native_handle() == fd) return absl::OkStatus();
    Unregister();
  }
  boost::system::error_code error;
  socket_.assign(fd, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(),
                               "a connection cannot be waited for");
  }
  return absl::OkStatus();
}

absl::Status Peer::Open() {
  if (absl::Status s = Register(); !s.ok()) return s;
  connection_.emplace(info_, this, scratch_, session_->fd(kClient),
                      MonotonicNow());
  Arm();
  return absl::OkStatus();
}

absl::Status Peer::Restore(const SessionSnapshot& snapshot) {
  v1::HttpConnection state;
  if (!snapshot.state.UnpackTo(&state)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a connection's state is a ", snapshot.state.type_url()));
  }
  if (absl::Status s = Register(); !s.ok()) return s;
  const absl::Time now = MonotonicNow();
  connection_.emplace(info_, this, scratch_, session_->fd(kClient), now);
  if (absl::Status s = connection_->Restore(
          snapshot.version, state, snapshot.input(kClient),
          snapshot.output(kClient), session_->fd(kBody), now);
      !s.ok()) {
    return s;
  }
  Arm();
  return absl::OkStatus();
}

absl::Status Peer::Save(SessionWriter& writer,
                        v1::HttpConnection* state) const {
  connection_->Save(writer.version(), state);
  if (state->has_websocket() && writer.version() < 3) {
    writer.Refuse(absl::StrCat("a WebSocket, which version ", writer.version(),
                               " of the state does not have"));
    return absl::OkStatus();
  }
  writer.State(*state);
  if (!connection_->input().empty()) {
    writer.Input(kClient, connection_->input());
  }
  if (!connection_->output().empty()) {
    writer.Output(kClient, connection_->output());
  }
  return absl::OkStatus();
}

void Peer::Arm() {
  if (connection_->wants_read() && !waits_to_read_) {
    waits_to_read_ = true;
    WaitFor(Wait::wait_read);
  }
  if (connection_->wants_write() && !waits_to_write_) {
    waits_to_write_ = true;
    WaitFor(Wait::wait_write);
  }
  const absl::Time wake_at = connection_->wake_at();
  if (wake_at != timer_at_ && wake_at != absl::InfiniteFuture()) {
    WaitUntil(wake_at);
  }
}

void Peer::WaitFor(Wait what) {
  socket_.async_wait(what, [self = shared_from_this(),
                            what](const boost::system::error_code& error) {
    // Unregistered; a wait that came after it is another one's.
    if (error == boost::asio::error::operation_aborted) return;
    self->OnReady(what);
  });
}

void Peer::OnReady(Wait what) {
  (what == Wait::wait_read ? waits_to_read_ : waits_to_write_) = false;
  // Also a wait that had ended before the socket was unregistered comes here.
  if (!socket_.is_open() || keeper_->quiesced()) return;
  if (what == Wait::wait_read) {
    if (connection_->wants_read()) Act(connection_->OnReadable(MonotonicNow()));
  } else {
    if (connection_->wants_write()) {
      Act(connection_->OnWritable(MonotonicNow()));
    }
  }
}

void Peer::WaitUntil(absl::Time when) {
  timer_at_ = when;
  if (!timer_.has_value()) timer_.emplace(*loop_);
  timer_->expires_at(std::chrono::steady_clock::time_point(
      std::chrono::nanoseconds(absl::ToUnixNanos(when))));
  timer_->async_wait([self = shared_from_this(),
                      when](const boost::system::error_code& error) {
    if (error || self->timer_at_ != when) return;
    self->timer_at_ = absl::InfiniteFuture();
    if (!self->socket_.is_open() || self->keeper_->quiesced()) return;
    self->OnTime(MonotonicNow());
  });
}

void Peer::Act(Connection::Next next) {
  if (std::exchange(changed_, false)) session_->Changed();
  switch (next) {
    case Connection::Next::kWait:
      Arm();
      return;
    case Connection::Next::kClose:
      Close();
      return;
    case Connection::Next::kReset:
      Unregister();
      session_->Reset();
      keeper_->OnEnded(*this);
      return;
  }
}

void Peer::Close() {
  Unregister();
  session_->Close();
  keeper_->OnEnded(*this);
}

void Peer::Unregister() {
  if (connection_.has_value()) connection_->LeaveRooms();
  if (socket_.is_open()) socket_.release();
  waits_to_read_ = false;
  waits_to_write_ = false;
  timer_.reset();
  timer_at_ = absl::InfiniteFuture();
}

void Peer::WriteSoon() {
  changed_ = false;
  session_->Changed();
  if (socket_.is_open()) Arm();
}

absl::StatusOr<int> Peer::KeepBody(UniqueFd file) {
  absl::Status added = session_->AddDescriptor(kBody, std::move(file));
  if (!added.ok()) return added;
  return session_->fd(kBody);
}

void Peer::CloseBody() {
  // NOT_FOUND: it never had one.
  session_->CloseDescriptor(kBody).IgnoreError();
}

}  // namespace handoff::server
