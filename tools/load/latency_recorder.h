#ifndef HANDOFF_TOOLS_LOAD_LATENCY_RECORDER_H_
#define HANDOFF_TOOLS_LOAD_LATENCY_RECORDER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace handoff::load {

// How long each request waited for its answer, every one of them kept: no
// histogram, so that the last of ten thousand is what it was. 16 bytes each.
// Not thread-safe.
class LatencyRecorder {
 public:
  // The grid of Series().
  static constexpr absl::Duration kBucket = absl::Milliseconds(10);

  // A request was due so long after the start of the measurement, and was
  // answered so much later.
  void Add(absl::Duration due, absl::Duration latency);

  size_t count() const { return latencies_.size(); }
  // The smallest latency that a share of so much, in (0, 1], does not exceed;
  // zero where there is none. Percentile(1) is the longest.
  absl::Duration Percentile(double share) const;

  // CSV with a header: `seconds` since the start of each bucket in which a
  // request was due, the worst latency of these, in ms, and how many they were.
  std::string Series() const;

 private:
  struct Entry {
    int64_t due_ns;
    int64_t latency_ns;
  };
  std::vector<Entry> latencies_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_LATENCY_RECORDER_H_
