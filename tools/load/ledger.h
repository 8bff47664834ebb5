#ifndef HANDOFF_TOOLS_LOAD_LEDGER_H_
#define HANDOFF_TOOLS_LOAD_LEDGER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace handoff::load {

// So many sessions were frozen for so long in one handoff.
struct BlackoutSample {
  double milliseconds = 0;
  uint64_t sessions = 0;
  int64_t successor = 0;  // its pid
};

// The library's own account of the run's handoffs.
struct LedgerSummary {
  size_t committed = 0;
  size_t aborted = 0;
  // Of the committed ones.
  std::vector<BlackoutSample> blackouts;
  uint64_t moved = 0;
  uint64_t lost = 0;
};

// Reads what `handoff ledger --format=json` prints. INVALID_ARGUMENT where it
// is something else.
absl::StatusOr<LedgerSummary> ParseLedger(absl::string_view json);

// The shortest blackout that `share` (0 to 1) of the sessions did not exceed,
// each handoff of each session counted. 0 where there are none.
double BlackoutQuantile(std::vector<BlackoutSample> samples, double share);

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_LEDGER_H_
