#include "tools/load/gap_meter.h"

#include <algorithm>

namespace handoff::load {

void GapMeter::Start() {
  last_ = absl::InfinitePast();
  waits_.clear();
}

void GapMeter::Progress(absl::Time now) {
  if (last_ != absl::InfinitePast()) waits_.push_back(now - last_);
  last_ = now;
}

absl::Duration GapMeter::LongestBeyondUsual() const {
  if (waits_.size() < kFewest) return absl::ZeroDuration();
  std::vector<absl::Duration> waits = waits_;
  const auto middle = waits.begin() + static_cast<ptrdiff_t>(waits.size() / 2);
  std::nth_element(waits.begin(), middle, waits.end());
  return *std::max_element(waits.begin(), waits.end()) - *middle;
}

}  // namespace handoff::load
