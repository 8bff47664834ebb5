#ifndef HANDOFF_TRANSPORT_CHANNEL_H_
#define HANDOFF_TRANSPORT_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/unique_fd.h"
#include "proto/handoff.pb.h"

namespace handoff {

// A frame as it arrived: its descriptors are owned, and each has been checked
// against what the sender says of it.
struct IncomingFrame {
  v1::Frame frame;
  std::vector<UniqueFd> descriptors;
};

// One connection of the protocol: frames with their descriptors over an AF_UNIX
// SOCK_SEQPACKET socket, and who is at its other end.
//
// The first frame that arrives decides the peer's identity, which must satisfy
// the trust policy before any frame is returned; every later frame must come
// from the same pid. Nothing is sent with descriptors before that by the side
// that answers. Where the kernel gives no SCM_PIDFD (Linux before 6.5), the
// first frame of each side, whatever it is, must carry a pidfd of its sender
// (OwnPidfd) as its first descriptor. Non-blocking; not thread-safe.
class Channel {
 public:
  struct Options {
    TrustPolicy trust;
    // Off: behave as on Linux before 6.5, for tests.
    bool use_scm_pidfd = true;
  };

  // Takes over `socket`: makes it non-blocking, asks for the sender's identity.
  // INVALID_ARGUMENT where it is no connected AF_UNIX SOCK_SEQPACKET socket.
  static absl::StatusOr<Channel> Create(UniqueFd socket, Options options);

  Channel(Channel&&) = default;
  Channel& operator=(Channel&&) = default;

  // Fills in seq, descriptor_count and descriptors of `frame`, and sends it
  // with duplicates of `descriptors`, the first of which the frame describes
  // already, so many as `described` says. The codes of SendMessage();
  // UNAVAILABLE and RESOURCE_EXHAUSTED mean that nothing was sent and the call
  // can be repeated with the same frame, which describes all of them then.
  // INVALID_ARGUMENT where the frame is too large or a descriptor cannot be
  // passed.
  absl::Status Send(v1::Frame& frame, absl::Span<const int> descriptors,
                    size_t described = 0);

  // The next frame. The codes of ReceiveMessage(), and
  // INVALID_ARGUMENT     it does not parse, its seq is not the next, or its
  //                      count differs from the descriptors that came
  // FAILED_PRECONDITION  a descriptor is not what the sender says
  // UNAUTHENTICATED, PERMISSION_DENIED  the peer is nobody we know; the same
  //                      code stays for every later call
  absl::StatusOr<IncomingFrame> Receive();

  // The same, waiting up to `deadline` (by absl::Now()): DEADLINE_EXCEEDED.
  absl::Status SendBefore(absl::Time deadline, v1::Frame& frame,
                          absl::Span<const int> descriptors);
  absl::StatusOr<IncomingFrame> ReceiveBefore(absl::Time deadline);

  // The peer, once a frame has arrived; else null. Owned by the channel.
  const PeerIdentity* peer() const;

  // To poll for POLLIN and POLLOUT; borrowed.
  int fd() const { return socket_.get(); }

 private:
  Channel(UniqueFd socket, Options options);

  // Fills in the frame, and outgoing_ with its bytes.
  absl::Status Prepare(v1::Frame& frame, absl::Span<const int> descriptors,
                       size_t described);
  absl::Status Authenticate(ReceivedMessage& message);

  UniqueFd socket_;
  Options options_;
  absl::optional<PeerIdentity> peer_;
  absl::Status rejected_;
  // Memory that is used again: a frame is as large as what malloc gives back to
  // the kernel each time.
  std::string outgoing_;
  std::unique_ptr<char[]> incoming_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_TRANSPORT_CHANNEL_H_
