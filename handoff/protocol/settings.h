#ifndef HANDOFF_PROTOCOL_SETTINGS_H_
#define HANDOFF_PROTOCOL_SETTINGS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace handoff {

// The versions of the protocol that this code speaks.
inline constexpr uint32_t kLowestProtocol = 1;
inline constexpr uint32_t kHighestProtocol = 1;

// How long each wait of a handoff may take. Whoever waits aborts at its own
// deadline; the two sides need not agree.
struct Deadlines {
  // From the connection to a valid Hello, and from Hello to Offer.
  absl::Duration hello = absl::Seconds(2);
  // To send one frame, and between two frames while some must come.
  absl::Duration frame = absl::Seconds(5);
  // From Offer to Ready: descriptors, state, and the successor's restoring.
  absl::Duration staging = absl::Seconds(60);
  // For every group to stop taking input and run out posted work.
  absl::Duration quiesce = absl::Seconds(1);
  // From the cut to the outcome.
  absl::Duration frozen = absl::Seconds(2);
  // From Committed to Released; and for an aborted successor to close what it
  // has, before it is killed.
  absl::Duration released = absl::Seconds(5);
  // How long the predecessor stays after the commit, to roll back a crash.
  absl::Duration watch = absl::Seconds(10);
  // How long kept sessions may go on when the watch is over.
  absl::Duration drain = absl::Seconds(30);
};

// What one handoff may cost. Every count that a peer names is checked against
// these before anything is allocated for it.
struct Limits {
  uint64_t sessions = 1'000'000;
  // Listeners and other named descriptors that are no session's.
  uint64_t named_descriptors = 10'000;
  uint64_t blobs = 10'000;
  // Descriptors of one session.
  uint64_t session_descriptors = 64;
  // Serialized state of one session or blob.
  uint64_t state_bytes = 64 * 1024 * 1024;
  // All state of a handoff.
  uint64_t total_state_bytes = uint64_t{4} * 1024 * 1024 * 1024;
  // Descriptors sent but not acknowledged. Unread descriptors count against the
  // sender's RLIMIT_NOFILE (ETOOMANYREFS, unix(7)); the driver lowers this to a
  // quarter of that limit.
  uint64_t window_descriptors = 2048;
  // Frames sent but not acknowledged.
  uint64_t window_frames = 64;
};

// State up to this size travels inside the frame, larger state in a sealed
// memfd that travels as one more descriptor.
inline constexpr size_t kInlineStateBytes = 4 * 1024;

// A memfd that the states of a frame's sessions share is closed when it has
// grown to this.
inline constexpr size_t kSharedStateBytes = 16 * 1024 * 1024;

// A frame of a batch is closed when its body has grown to this.
inline constexpr size_t kBatchBytes = 96 * 1024;

// Longest name of a listener, descriptor, blob, type or label, in bytes.
inline constexpr size_t kMaxNameBytes = 255;

// Longest reason, for people, in bytes.
inline constexpr size_t kMaxTextBytes = 1000;

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_SETTINGS_H_
