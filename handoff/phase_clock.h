#ifndef HANDOFF_PHASE_CLOCK_H_
#define HANDOFF_PHASE_CLOCK_H_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/handoff.pb.h"

namespace handoff {

// How long each phase of one handoff took, by a clock of the caller's.
class PhaseClock {
 public:
  // Ends the phase that is under way, if there is one. `at` is not before that
  // began.
  void Begin(absl::string_view name, absl::Time at) {
    End(at);
    since_ = std::max(at, since_);
    name_ = std::string(name);
  }
  void End(absl::Time at) {
    if (name_.empty()) return;
    v1::Phase& phase = ended_.emplace_back();
    phase.set_name(std::exchange(name_, ""));
    phase.set_seconds(absl::ToDoubleSeconds(std::max(at, since_) - since_));
  }

  // Of the one that is under way; empty where none is.
  const std::string& name() const { return name_; }
  absl::Time since() const { return since_; }
  // Those that have ended, in their order.
  void AddTo(v1::LedgerHandoff& handoff) const {
    for (const v1::Phase& phase : ended_) *handoff.add_phases() = phase;
  }

 private:
  std::string name_;
  absl::Time since_ = absl::InfinitePast();
  std::vector<v1::Phase> ended_;
};

}  // namespace handoff

#endif  // HANDOFF_PHASE_CLOCK_H_
