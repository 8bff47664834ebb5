#include "handoff/transport/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/protocol/frame.h"

namespace handoff {
namespace {

// How long to wait before sending again where no event says when: until the
// receiver has taken descriptors out of its queue (ETOOMANYREFS), or the kernel
// has memory.
constexpr absl::Duration kRetryInterval = absl::Milliseconds(1);

int SocketType(int fd) {
  int type = -1;
  socklen_t length = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ? -1 : type;
}

// Waits for `events`, or for the peer to close. False where the deadline came
// first; a deadline in the past polls once.
absl::StatusOr<bool> Wait(int fd, int events, absl::Time deadline) {
  pollfd poll = {fd, static_cast<int16_t>(events), 0};
  while (true) {
    const absl::Duration left = deadline - absl::Now();
    // Rounded up: a wait that is cut to 0 would spin through the last
    // millisecond.
    const int64_t milliseconds =
        absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)));
    const int ready =
        ::poll(&poll, 1,
               static_cast<int>(std::clamp<int64_t>(milliseconds, 0, INT_MAX)));
    if (ready > 0) return true;
    if (ready == 0 && absl::Now() >= deadline) return false;
    if (ready < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "poll");
  }
}

// Fills in what the frame says of its descriptors, but for the first ones.
absl::Status Describe(v1::Frame& frame, absl::Span<const int> descriptors,
                      size_t described) {
  frame.set_descriptor_count(static_cast<uint32_t>(descriptors.size()));
  if (described > 0 &&
      (described != static_cast<size_t>(frame.descriptors_size()) ||
       described > descriptors.size())) {
    return absl::InternalError("a frame does not describe what it should");
  }
  if (described == 0) frame.clear_descriptors();
  for (const int fd : descriptors.subspan(described)) {
    absl::StatusOr<v1::DescriptorInfo> info = DescribeDescriptor(fd);
    if (!info.ok()) {
      return absl::InvalidArgumentError(info.status().message());
    }
    absl::Status passable = CheckPassable(info->kind());
    if (!passable.ok()) return passable;
    *frame.add_descriptors() = *std::move(info);
  }
  return absl::OkStatus();
}

absl::Status Serialize(const v1::Frame& frame, std::string& bytes) {
  const size_t size = frame.ByteSizeLong();
  if (size > kMaxMessageBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of ", size, " bytes: at most ", kMaxMessageBytes,
                     " are allowed"));
  }
  bytes.resize(size);
  frame.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(&bytes[0]));
  return absl::OkStatus();
}

}  // namespace

Channel::Channel(UniqueFd socket, Options options)
    : socket_(std::move(socket)), options_(std::move(options)) {}

absl::StatusOr<Channel> Channel::Create(UniqueFd socket, Options options) {
  const int fd = socket.get();
  sockaddr_storage peer = {};
  socklen_t length = sizeof(peer);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) < 0 ||
      peer.ss_family != AF_UNIX || SocketType(fd) != SOCK_SEQPACKET) {
    return absl::InvalidArgumentError(
        "a channel needs a connected AF_UNIX SOCK_SEQPACKET socket");
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    return absl::ErrnoToStatus(errno, "fcntl(F_SETFL)");
  }
  absl::Status identity = EnableSenderIdentity(fd, options.use_scm_pidfd);
  if (!identity.ok()) return identity;
  return Channel(std::move(socket), std::move(options));
}

absl::Status Channel::Prepare(v1::Frame& frame,
                              absl::Span<const int> descriptors,
                              size_t described) {
  // Before they are described: thousands would take a while.
  if (descriptors.size() > kMaxDescriptorsPerMessage) {
    return absl::InvalidArgumentError(
        absl::StrCat(descriptors.size(), " descriptors in one frame: at most ",
                     kMaxDescriptorsPerMessage, " are allowed"));
  }
  absl::Status whole = Describe(frame, descriptors, described);
  if (!whole.ok()) return whole;
  frame.set_seq(sent_ + 1);
  return Serialize(frame, outgoing_);
}

absl::Status Channel::Send(v1::Frame& frame, absl::Span<const int> descriptors,
                           size_t described) {
  absl::Status prepared = Prepare(frame, descriptors, described);
  if (!prepared.ok()) return prepared;
  absl::Status sent = SendMessage(fd(), outgoing_, descriptors);
  if (sent.ok()) ++sent_;
  return sent;
}

absl::Status Channel::SendBefore(absl::Time deadline, v1::Frame& frame,
                                 absl::Span<const int> descriptors) {
  absl::Status prepared = Prepare(frame, descriptors, /*described=*/0);
  if (!prepared.ok()) return prepared;
  // Whether the last try failed although poll(2) had said that it would not.
  bool misled = false;
  while (true) {
    absl::Status sent = SendMessage(fd(), outgoing_, descriptors);
    if (sent.ok()) {
      ++sent_;
      return sent;
    }
    const bool full = absl::IsUnavailable(sent);
    if (!full && !absl::IsResourceExhausted(sent)) return sent;
    absl::StatusOr<bool> ready;
    if (full && !misled) {
      ready = Wait(fd(), POLLOUT, deadline);
      misled = true;
    } else {
      // Still returns at once where the peer has closed.
      ready = Wait(fd(), 0, std::min(deadline, absl::Now() + kRetryInterval));
      misled = false;
    }
    if (!ready.ok()) return ready.status();
    if (!*ready && absl::Now() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("the peer does not read: ", sent.message()));
    }
  }
}

absl::Status Channel::Authenticate(ReceivedMessage& message) {
  static const UniqueFd* const kNone = new UniqueFd();
  if (!peer_.has_value()) {
    absl::StatusOr<PeerIdentity> peer = IdentifySender(
        message,
        message.descriptors.empty() ? *kNone : message.descriptors.front());
    if (!peer.ok()) return peer.status();
    absl::Status trusted = CheckTrusted(peer->credentials, options_.trust);
    if (!trusted.ok()) return trusted;
    peer_ = *std::move(peer);
    // The pid is enough for each later message: to pass for the peer, another
    // process would need both its number and its end of the connection. A pidfd
    // with each would be a descriptor made and closed for each.
    return EnableSenderIdentity(fd(), /*want_pidfd=*/false);
  }
  if (!message.credentials.has_value() ||
      message.credentials->pid != peer_->credentials.pid) {
    return absl::UnauthenticatedError(absl::StrCat(
        "a frame from process ",
        message.credentials.has_value() ? message.credentials->pid : 0,
        " on the connection of process ", peer_->credentials.pid));
  }
  return CheckTrusted(*message.credentials, options_.trust);
}

absl::StatusOr<IncomingFrame> Channel::Receive() {
  if (!rejected_.ok()) return rejected_;
  if (incoming_ == nullptr) {
    incoming_ = std::make_unique_for_overwrite<char[]>(kMaxMessageBytes);
  }
  absl::StatusOr<ReceivedMessage> message =
      ReceiveMessage(fd(), absl::MakeSpan(incoming_.get(), kMaxMessageBytes));
  if (!message.ok()) return message.status();
  // Before a byte of it is looked at.
  if (absl::Status known = Authenticate(*message); !known.ok()) {
    rejected_ = known;
    return known;
  }

  IncomingFrame incoming;
  incoming.descriptors = std::move(message->descriptors);
  const size_t count = incoming.descriptors.size();
  absl::StatusOr<v1::Frame> frame =
      DecodeFrame(message->bytes, received_ + 1, count);
  if (!frame.ok()) return frame.status();
  incoming.frame = *std::move(frame);
  for (size_t i = 0; i < count; ++i) {
    absl::Status same = CheckDescriptor(
        incoming.descriptors[i].get(),
        incoming.frame.descriptors(static_cast<int>(i)));
    if (!same.ok()) return same;
  }
  ++received_;
  return incoming;
}

absl::StatusOr<IncomingFrame> Channel::ReceiveBefore(absl::Time deadline) {
  while (true) {
    absl::StatusOr<IncomingFrame> incoming = Receive();
    if (incoming.ok() || !absl::IsUnavailable(incoming.status())) {
      return incoming;
    }
    absl::StatusOr<bool> ready = Wait(fd(), POLLIN, deadline);
    if (!ready.ok()) return ready.status();
    if (!*ready) {
      return absl::DeadlineExceededError("no frame before the deadline");
    }
  }
}

const PeerIdentity* Channel::peer() const {
  return peer_.has_value() ? &*peer_ : nullptr;
}

}  // namespace handoff
