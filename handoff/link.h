#ifndef HANDOFF_LINK_H_
#define HANDOFF_LINK_H_

#include <poll.h>
#include <sys/socket.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "handoff/fault_seam.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/protocol/frame.h"
#include "handoff/transport/channel.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Connects a machine to a channel: what arrives goes into the machine, what the
// machine wants to send goes out, and the peer's end is told as what it is,
// closed or dead. Never blocks. Not thread-safe.
class Link {
 public:
  // `seam` may be null.
  Link(Channel channel, FaultSeam* seam)
      : channel_(std::move(channel)), seam_(seam) {}

  Channel& channel() { return channel_; }

  // Exchanges one frame at most in each direction. True where something was
  // exchanged: call again, after carrying out the machine's commands. Sends
  // first, so the acknowledgement of a batch goes out once it is restored.
  template <typename Machine>
  bool Exchange(Machine& machine, absl::Time now) {
    const bool sent = SendOne(machine, now);
    const bool received = ReceiveOne(machine, now);
    return sent || received;
  }

  // Sends what is left to send, while it goes without waiting: for a machine
  // that has ended.
  template <typename Machine>
  void Flush(Machine& machine, absl::Time now) {
    while (SendOne(machine, now)) {
    }
  }

  // What to poll for.
  void AddTo(std::vector<pollfd>& polled) const {
    if (!closed_) {
      // With no events asked for, poll(2) still reports POLLHUP.
      const int in = broken_ ? 0 : POLLIN;
      const int out = blocked_ == Blocked::kQueue ? POLLOUT : 0;
      polled.push_back({channel_.fd(), static_cast<short>(in | out), 0});
    }
    if (channel_.peer() != nullptr && !dead_) {
      polled.push_back({channel_.peer()->pidfd.get(), POLLIN, 0});
    }
  }
  // When to try again even if nothing is reported: unread descriptors of this
  // user are too many (ETOOMANYREFS), which no poll reports the end of.
  absl::Duration retry_after() const {
    return blocked_ == Blocked::kKernel ? absl::Milliseconds(1)
                                        : absl::InfiniteDuration();
  }
  bool closed() const { return closed_; }

  // The peer reads what was sent, and then the end.
  void End() { ::shutdown(channel_.fd(), SHUT_RDWR); }

 private:
  enum class Blocked { kNo, kQueue, kKernel };

  static v1::Abort::Reason ReasonOf(const absl::Status& status) {
    switch (status.code()) {
      case absl::StatusCode::kDataLoss:
        return v1::Abort::TRUNCATED;
      case absl::StatusCode::kFailedPrecondition:
        return v1::Abort::MISMATCH;
      default:
        return v1::Abort::MALFORMED;
    }
  }

  template <typename Machine>
  bool ReceiveOne(Machine& machine, absl::Time now) {
    if (dead_) return false;
    // Looked at before the queue is read: a process that had ended by then has
    // everything that it sent in the queue.
    const bool ended =
        channel_.peer() != nullptr && ProcessEnded(channel_.peer()->pidfd.get());
    if (broken_ && !closed_) {
      pollfd polled = {channel_.fd(), 0, 0};
      if (::poll(&polled, 1, 0) > 0 && (polled.revents & POLLHUP) != 0) {
        closed_ = true;
        machine.OnPeerClosed(now);
        return true;
      }
    } else if (!closed_) {
      absl::StatusOr<IncomingFrame> frame = channel_.Receive();
      if (frame.ok()) {
        Reach(seam_, "received", BodyName(frame->frame), channel_.fd());
        machine.OnFrame(std::move(frame->frame), std::move(frame->descriptors),
                        now);
        return true;
      }
      switch (frame.status().code()) {
        case absl::StatusCode::kUnavailable:
          break;
        case absl::StatusCode::kOutOfRange:
        case absl::StatusCode::kAborted:
          closed_ = true;
          machine.OnPeerClosed(now);
          return true;
        default:
          // Nothing that follows can be trusted to be in its place.
          broken_ = true;
          machine.OnBadFrame(ReasonOf(frame.status()), frame.status(), now);
          return true;
      }
    }
    if (!ended) return false;
    dead_ = true;
    // What followed a frame that could not be used was never read, and a Retire
    // may have been there: the end of that process is no proof of a crash.
    if (broken_) return false;
    machine.OnPeerDead(now);
    return true;
  }

  template <typename Machine>
  bool SendOne(Machine& machine, absl::Time now) {
    const Blocked before = std::exchange(blocked_, Blocked::kNo);
    OutgoingFrame* next = machine.ToSend();
    if (next == nullptr || closed_ || mute_) return false;
    std::vector<int> fds;
    fds.reserve(next->descriptors.size());
    for (const SharedFd& fd : next->descriptors) fds.push_back(fd->get());
    const absl::Status status =
        channel_.Send(next->frame, fds, next->described);
    if (status.ok()) {
      Reach(seam_, "sent", BodyName(next->frame), channel_.fd());
      machine.OnSent(now);
      return true;
    }
    // What was found out of them stays true, however often it is tried.
    if (static_cast<size_t>(next->frame.descriptors_size()) == fds.size()) {
      next->described = fds.size();
    }
    switch (status.code()) {
      case absl::StatusCode::kUnavailable:
        // The second time in a row POLLOUT had promised too much: the kernel
        // lacks memory, which no poll reports the end of.
        blocked_ = before == Blocked::kQueue ? Blocked::kKernel
                                             : Blocked::kQueue;
        return false;
      case absl::StatusCode::kResourceExhausted:
        blocked_ = Blocked::kKernel;
        return false;
      case absl::StatusCode::kAborted:
        // What the peer sent before it closed is still to be read.
        return false;
      default:
        // What follows gets its number: an Abort still says why. Where even
        // that cannot be sent, nothing can.
        mute_ = std::exchange(failed_, true);
        machine.OnBadFrame(v1::Abort::INTERNAL, status, now);
        return !mute_;
    }
  }

  Channel channel_;
  FaultSeam* const seam_;
  Blocked blocked_ = Blocked::kNo;
  bool broken_ = false;  // a frame could not be used: no more are read
  bool failed_ = false;  // a frame could not be sent
  bool mute_ = false;    // nor the next: no more are
  bool closed_ = false;
  bool dead_ = false;
};

}  // namespace handoff

#endif  // HANDOFF_LINK_H_
