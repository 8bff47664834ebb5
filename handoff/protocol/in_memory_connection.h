#ifndef HANDOFF_PROTOCOL_IN_MEMORY_CONNECTION_H_
#define HANDOFF_PROTOCOL_IN_MEMORY_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/frame.h"
#include "handoff/protocol/frame_fault.h"
#include "proto/handoff.pb.h"

namespace handoff {

// For tests: one direction of a connection. Frames travel as bytes with
// duplicates of their descriptors, in order, and are checked at the other end
// as a Channel checks them; a descriptor is what it counts to.
//
// Not thread-safe.
class InMemoryDirection {
 public:
  struct Arrived {
    v1::Frame frame;
    std::vector<UniqueFd> descriptors;
  };

  // Numbers and describes `frame`, and sends it, the one where `fault` happens
  // to it.
  void Send(OutgoingFrame& frame, FrameFault fault, std::mt19937_64& random);
  // Numbers `frame` as if it were sent, to nobody.
  void Lose(OutgoingFrame& frame) { frame.frame.set_seq(++sent_); }
  // Whether another frame has room.
  bool has_room() const;
  // What comes from here on, or waits, cannot be read before `time`.
  void HoldBack(absl::Time time) { held_until_ = time; }
  absl::Time held_until() const { return held_until_; }

  bool empty() const { return queue_.empty(); }
  bool Readable(absl::Time now) const {
    return !queue_.empty() && now >= held_until_;
  }
  // Only where Readable(). After an error nothing more is to be read.
  absl::StatusOr<Arrived> Receive();
  void Clear() { queue_.clear(); }

  // A frame was received with other contents than were sent.
  bool forged() const { return forged_; }

 private:
  struct Datagram {
    std::string bytes;
    std::vector<UniqueFd> descriptors;
    bool forged = false;
  };

  std::deque<Datagram> queue_;
  absl::Time held_until_ = absl::InfinitePast();
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  bool forged_ = false;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_IN_MEMORY_CONNECTION_H_
