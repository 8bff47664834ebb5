#include "handoff/protocol/outbox.h"

#include <algorithm>
#include <utility>

namespace handoff {

void Outbox::Push(OutgoingFrame frame, absl::Time now) {
  if (queue_.empty()) progress_ = std::max(progress_, now);
  queue_.push_back(std::move(frame));
}

OutgoingFrame* Outbox::Next() {
  if (queue_.empty()) return nullptr;
  OutgoingFrame& next = queue_.front();
  if (IsBatch(next.frame) && !unacknowledged_.empty() &&
      (unacknowledged_.size() >= window_frames_ ||
       descriptors_under_way_ + next.descriptors.size() >
           window_descriptors_)) {
    return nullptr;
  }
  return &next;
}

void Outbox::Sent(absl::Time now) {
  const OutgoingFrame& sent = queue_.front();
  last_sent_ = sent.frame.seq();
  if (IsBatch(sent.frame)) {
    unacknowledged_.push_back({last_sent_, sent.descriptors.size()});
    descriptors_under_way_ += sent.descriptors.size();
  }
  queue_.pop_front();
  progress_ = now;
}

bool Outbox::Acknowledge(uint64_t seq, absl::Time now) {
  if (seq > last_sent_ || seq < last_acknowledged_) return false;
  last_acknowledged_ = seq;
  while (!unacknowledged_.empty() && unacknowledged_.front().seq <= seq) {
    descriptors_under_way_ -= unacknowledged_.front().descriptors;
    unacknowledged_.pop_front();
    progress_ = now;
  }
  return true;
}

absl::Time Outbox::stalled_since() const {
  return queue_.empty() && unacknowledged_.empty() ? absl::InfiniteFuture()
                                                   : progress_;
}

}  // namespace handoff
