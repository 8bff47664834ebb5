#include "tools/load/latency_recorder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"

namespace handoff::load {

void LatencyRecorder::Add(absl::Duration due, absl::Duration latency) {
  latencies_.push_back(
      {absl::ToInt64Nanoseconds(due), absl::ToInt64Nanoseconds(latency)});
}

absl::Duration LatencyRecorder::Percentile(double share) const {
  if (latencies_.empty()) return absl::ZeroDuration();
  std::vector<int64_t> sorted;
  sorted.reserve(latencies_.size());
  for (const Entry& entry : latencies_) sorted.push_back(entry.latency_ns);
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  const size_t index =
      std::min(sorted.size() - 1, static_cast<size_t>(std::max(rank, 1.0)) - 1);
  const auto nth = sorted.begin() + static_cast<std::ptrdiff_t>(index);
  std::nth_element(sorted.begin(), nth, sorted.end());
  return absl::Nanoseconds(*nth);
}

std::string LatencyRecorder::Series() const {
  // The worst, and how many.
  std::map<int64_t, std::pair<int64_t, uint64_t>> buckets;
  for (const Entry& entry : latencies_) {
    auto& [worst, count] =
        buckets[entry.due_ns / absl::ToInt64Nanoseconds(kBucket)];
    worst = std::max(worst, entry.latency_ns);
    ++count;
  }
  std::string csv = "seconds,worst_ms,requests\n";
  for (const auto& [bucket, figures] : buckets) {
    absl::StrAppendFormat(
        &csv, "%.2f,%.3f,%d\n", absl::ToDoubleSeconds(bucket * kBucket),
        static_cast<double>(figures.first) / 1e6, figures.second);
  }
  return csv;
}

}  // namespace handoff::load
