#include "server/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>

namespace handoff::server {
namespace {

// What one connection may read or write before the loop turns to the others.
constexpr int kReadsPerTurn = 4;
constexpr size_t kWriteBytesPerTurn = 256 * 1024;

// An idle connection keeps no buffer larger than this.
constexpr size_t kKeptCapacity = 4 * 1024;

// MSG_DONTWAIT: the descriptors are non-blocking already, but that flag is
// shared with every process that has a duplicate.
ssize_t ReadSome(int fd, char* to, size_t size) {
  ssize_t n;
  do {
    n = recv(fd, to, size, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  return n;
}

ssize_t WriteSome(int fd, absl::string_view bytes) {
  ssize_t n;
  do {
    n = send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n;
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK; }

void Empty(std::string* buffer) {
  if (buffer->capacity() > kKeptCapacity) {
    std::string().swap(*buffer);
  } else {
    buffer->clear();
  }
}

}  // namespace

Connection::Connection(const ServiceInfo* info, ConnectionOwner* owner,
                       Scratch* scratch, int fd, absl::Time now)
    : info_(info),
      owner_(owner),
      scratch_(scratch),
      fd_(fd),
      parser_(info->limits),
      body_(owner),
      waiting_since_(now) {}

absl::string_view Connection::input() const {
  if (websocket_ != nullptr) return websocket_->reader.input();
  return absl::string_view(input_).substr(input_used_);
}

absl::string_view Connection::output() const {
  return absl::string_view(output_).substr(output_used_);
}

bool Connection::can_parse() const {
  return !last_answer_ && answer_ == Answer::kNone &&
         output().size() < kOutputBytes;
}

// Something that has come waits for the output before it to be written.
bool Connection::has_unread() const {
  if (websocket_ != nullptr) return websocket_->reader.has_unread();
  return !input().empty();
}

bool Connection::idle() const {
  return !lingering_ && websocket_ == nullptr && !parser_.begun() &&
         answer_ == Answer::kNone && output().empty() && input().empty();
}

bool Connection::draining() const {
  return drains_ ||
         info_->mode.load(std::memory_order_relaxed) == Mode::kDraining;
}

bool Connection::wants_read() const {
  if (client_ended_) return false;
  if (lingering_) return true;
  // Half a frame that has come here with a handoff was not looked at yet; what
  // else waits does so for output.
  return can_parse() &&
         (!has_unread() || (websocket_ != nullptr && output().empty()));
}

bool Connection::wants_write() const {
  return !output().empty() || (answer_ != Answer::kNone && !paced_);
}

absl::Time Connection::wake_at() const {
  return paced_ ? stream_.NextDue() : absl::InfiniteFuture();
}

absl::Time Connection::deadline() const {
  const ConnectionLimits& limits = info_->limits;
  if (lingering_) {
    // Where nothing was answered there is no answer to protect.
    const bool answered = requests_ > 0 || last_answer_;
    return waiting_since_ + (answered ? kLingerTimeout : kDrainIdleTimeout);
  }
  if (websocket_ != nullptr) return FramesDeadline();
  absl::Time earliest = blocked_since_ + limits.write_timeout;
  if (parser_.begun()) {
    // A request that we do not read cannot be late: then the client is slow to
    // read its answers, which is the other limit's.
    if (wants_read()) {
      earliest = std::min(earliest, waiting_since_ + limits.request_timeout);
    }
  } else if (idle()) {
    absl::Duration timeout = limits.idle_timeout;
    if (draining()) timeout = std::min(timeout, kDrainIdleTimeout);
    earliest = std::min(earliest, waiting_since_ + timeout);
  }
  return earliest;
}

Connection::Next Connection::OnReadable(absl::Time now) {
  if (lingering_) return Discard();
  for (int i = 0; i < kReadsPerTurn && wants_read(); ++i) {
    const ssize_t n = ReadSome(fd_, scratch_->bytes, sizeof(scratch_->bytes));
    if (n < 0) {
      if (WouldBlock()) break;
      return Next::kClose;
    }
    owner_->Changed();
    if (n == 0) {
      client_ended_ = true;
      break;
    }
    absl::string_view bytes(scratch_->bytes, static_cast<size_t>(n));
    Consume(&bytes, now);
    // What is left waits for the answer before it. It must leave the scratch,
    // which the answer needs.
    if (!last_answer_) input_.assign(bytes.data(), bytes.size());
    // Less than was asked for: there is no more.
    if (static_cast<size_t>(n) < sizeof(scratch_->bytes)) break;
  }
  const Next next = Advance(now);
  return next == Next::kWait && idle() && draining() ? EndPolitely(now) : next;
}

Connection::Next Connection::OnWritable(absl::Time now) {
  return lingering_ ? Next::kWait : GoOn(now);
}

Connection::Next Connection::GoOn(absl::Time now) {
  const Next next = Advance(now);
  // The next request may have come while nobody read any.
  return next == Next::kWait && idle() && draining() ? OnReadable(now) : next;
}

Connection::Next Connection::OnTime(absl::Time now) {
  if (paced_ && now >= wake_at()) return GoOn(now);
  if (now < deadline()) return Next::kWait;
  if (lingering_) return Next::kClose;
  if (idle()) return draining() ? OnDrain(now) : Next::kClose;
  if (now >= blocked_since_ + info_->limits.write_timeout) return Next::kReset;
  if (websocket_ != nullptr) return OnFramesLate(now);
  Fail(408, "the request did not come in time\n", {}, now);
  return Advance(now);
}

Connection::Next Connection::OnDrain(absl::Time now) {
  drains_ = true;
  if (websocket_ != nullptr) {
    StartClosing(CloseCode::kGoingAway, "the service stops");
    return lingering_ ? Next::kWait : Advance(now);
  }
  // What is not idle finds that out when it has an answer, or has given it.
  // What is may have a request in the kernel that nobody has read yet, and
  // closing would reset it: so it is read, and where there is none, that ends.
  return idle() ? OnReadable(now) : Next::kWait;
}

Connection::Next Connection::OnRetire(absl::Time now) {
  if (websocket_ == nullptr || lingering_) return Next::kWait;
  StartClosing(CloseCode::kServiceRestart, "the service has moved");
  return Advance(now);
}

// Writes what there is to write and parses what was read before, in turns, as
// far as the client and the quota allow.
Connection::Next Connection::Advance(absl::Time now) {
  size_t quota = kWriteBytesPerTurn;
  for (;;) {
    if (websocket_ != nullptr) {
      ReadFrames();
    } else if (!input().empty()) {
      absl::string_view bytes = input();
      const size_t before = bytes.size();
      Consume(&bytes, now);
      input_used_ += before - bytes.size();
      if (bytes.size() != before) owner_->Changed();
      if (bytes.empty() || last_answer_) {
        input_used_ = 0;
        Empty(&input_);
      }
    }
    switch (Flush(now, &quota)) {
      case Flushed::kPartly:
        return Next::kWait;
      case Flushed::kFailed:
        return Next::kClose;
      case Flushed::kAll:
        break;
    }
    if (last_answer_) return EndPolitely(now);
    if (has_unread()) continue;
    if (!client_ended_) break;
    if (!parser_.begun()) return Next::kClose;
    Fail(400, "the request ends in its middle\n", {}, now);
  }
  return Next::kWait;
}

Connection::Flushed Connection::Flush(absl::Time now, size_t* quota) {
  paced_ = false;
  while (!output().empty() || answer_ != Answer::kNone) {
    if (*quota == 0) return Flushed::kPartly;
    absl::StatusOr<absl::string_view> bytes =
        Produce(now, std::min(*quota, sizeof(scratch_->bytes)));
    if (!bytes.ok()) return Flushed::kFailed;
    if (bytes->empty()) {
      paced_ = true;
      return Flushed::kPartly;
    }
    const ssize_t n = WriteSome(fd_, *bytes);
    if (n < 0 && !WouldBlock()) return Flushed::kFailed;
    const size_t written = n < 0 ? 0 : static_cast<size_t>(n);
    if (written > 0) {
      *quota -= written;
      Written(written, now);
    }
    if (written < bytes->size()) {
      if (written > 0 || blocked_since_ == absl::InfiniteFuture()) {
        blocked_since_ = now;
        owner_->Changed();
      }
      return Flushed::kPartly;
    }
  }
  return Flushed::kAll;
}

absl::StatusOr<absl::string_view> Connection::Produce(absl::Time now,
                                                      size_t limit) {
  if (answer_ == Answer::kNone) return output().substr(0, limit);
  // The header, or the end of an answer before, and the body in one write.
  const size_t head = std::min(limit, output().size());
  memcpy(scratch_->bytes, output().data(), head);
  absl::Span<char> rest(scratch_->bytes + head, limit - head);
  size_t size = 0;
  if (answer_ == Answer::kEcho) {
    absl::StatusOr<size_t> read = body_.Read(echo_offset_, rest);
    if (!read.ok()) return read.status();
    size = *read;
  } else {
    size =
        static_cast<size_t>(std::min<uint64_t>(stream_.Due(now), rest.size()));
    FillStream(stream_.offset, rest.subspan(0, size));
  }
  return absl::string_view(scratch_->bytes, head + size);
}

void Connection::Written(size_t bytes, absl::Time now) {
  owner_->Changed();
  blocked_since_ = absl::InfiniteFuture();
  const bool could_parse = can_parse();
  const size_t head = std::min(bytes, output().size());
  output_used_ += head;
  if (output().empty()) {
    output_used_ = 0;
    Empty(&output_);
  } else if (output_used_ >= kOutputBytes && output_used_ >= output().size()) {
    // A WebSocket's may never be empty.
    output_.erase(0, output_used_);
    output_used_ = 0;
  }
  const uint64_t body = bytes - head;
  if (answer_ == Answer::kEcho) {
    echo_offset_ += body;
    if (echo_offset_ == body_.size()) FinishAnswer();
  } else if (answer_ == Answer::kStream) {
    stream_.offset += body;
    if (stream_.offset == stream_.total) FinishAnswer();
  }
  // The wait for the next request begins; if some of it is here already, its
  // time begins when it is parsed. Of a WebSocket only the wait for the end
  // does, as other clients make the output; and that for a client who was not
  // read while it was slow.
  if (websocket_ != nullptr && !websocket_->closing) {
    if (!could_parse && can_parse()) Heard(now);
    return;
  }
  if (output().empty() && answer_ == Answer::kNone && !parser_.begun()) {
    waiting_since_ = now;
  }
  // A request that was left unread meanwhile has its time from here.
  if (parser_.begun() && !could_parse && can_parse()) waiting_since_ = now;
}

void Connection::FinishAnswer() {
  answer_ = Answer::kNone;
  body_.Clear();
  stream_ = Stream();
  echo_offset_ = 0;
}

// FIN, and then what the client still sends is read and thrown away: closing a
// socket with unread bytes sends RST, which can destroy an answer that the
// client has not read yet.
Connection::Next Connection::EndPolitely(absl::Time now) {
  if (client_ended_ || shutdown(fd_, SHUT_WR) != 0) return Next::kClose;
  lingering_ = true;
  waiting_since_ = now;
  owner_->Changed();
  return Next::kWait;
}

Connection::Next Connection::Discard() {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    const ssize_t n = ReadSome(fd_, scratch_->bytes, sizeof(scratch_->bytes));
    if (n == 0) return Next::kClose;
    if (n < 0) return WouldBlock() ? Next::kWait : Next::kClose;
    owner_->Changed();
  }
  return Next::kWait;
}

}  // namespace handoff::server
