#ifndef HANDOFF_PROTOCOL_OUTBOX_H_
#define HANDOFF_PROTOCOL_OUTBOX_H_

#include <cstdint>
#include <deque>

#include "absl/time/time.h"
#include "handoff/protocol/frame.h"

namespace handoff {

// What a machine wants to send, in order, and how much of it may be under way.
//
// Unread descriptors count against the sender's limit, so batches wait until
// earlier ones are acknowledged; other frames only keep their place in the
// queue. Reads no clock.
class Outbox {
 public:
  Outbox(uint64_t window_frames, uint64_t window_descriptors)
      : window_frames_(window_frames), window_descriptors_(window_descriptors) {}

  // The queue stands still since `now` where it was empty.
  void Push(OutgoingFrame frame, absl::Time now);

  // The frame to send next, or null where there is none or the window is full.
  // Stays the same until Sent().
  OutgoingFrame* Next();
  // Next() has been sent, with the sequence number that its frame now has.
  void Sent(absl::Time now);

  // The peer owns every batch up to `seq`. False where it cannot: a number that
  // was not sent, or lower than one before.
  bool Acknowledge(uint64_t seq, absl::Time now);

  // Everything was sent, and every batch acknowledged.
  bool idle() const { return queue_.empty() && unacknowledged_.empty(); }
  // When something last moved while something waited; infinite future where
  // nothing waits, neither to be sent nor for an acknowledgement.
  absl::Time stalled_since() const;

  void Clear() { queue_.clear(); }

 private:
  struct Unacknowledged {
    uint64_t seq;
    uint64_t descriptors;
  };

  const uint64_t window_frames_;
  const uint64_t window_descriptors_;
  std::deque<OutgoingFrame> queue_;
  std::deque<Unacknowledged> unacknowledged_;
  uint64_t descriptors_under_way_ = 0;
  uint64_t last_sent_ = 0;
  uint64_t last_acknowledged_ = 0;
  absl::Time progress_ = absl::InfinitePast();
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_OUTBOX_H_
