#ifndef HANDOFF_TOOLS_LOAD_GAP_METER_H_
#define HANDOFF_TOOLS_LOAD_GAP_METER_H_

#include <vector>

#include "absl/time/time.h"

namespace handoff::load {

// How long a client waited for the next bytes of a paced stream, beyond what it
// waits for anyway.
//
// A server that sends R bytes a second does so in pieces; how large is its own
// choice, and nothing says that it makes up for a delay. So the schedule is
// taken from the stream itself: the median wait between two pieces. Not
// thread-safe.
class GapMeter {
 public:
  // Forgets the last stream.
  void Start();
  // A piece has come.
  void Progress(absl::Time now);
  // The longest wait less the median one; zero with fewer than kFewest waits,
  // of which no usual one can be told.
  absl::Duration LongestBeyondUsual() const;

  static constexpr size_t kFewest = 5;

 private:
  absl::Time last_ = absl::InfinitePast();
  std::vector<absl::Duration> waits_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_GAP_METER_H_
