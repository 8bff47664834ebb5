#ifndef HANDOFF_TOOLS_LOAD_REPORT_H_
#define HANDOFF_TOOLS_LOAD_REPORT_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tools/load/tally.h"

namespace handoff::load {

// One handoff, as the run saw it from outside.
struct HandoffReport {
  bool by_signal = false;  // SIGUSR2; otherwise separately started
  pid_t predecessor = 0;
  pid_t successor = 0;
  // From the start of the successor, or the signal, to its "ready".
  absl::Duration took;
  size_t connections = 0;  // kept ones that were open
  size_t cut = 0;          // of them, in the middle of a message
  // Of the group that was frozen longest, by the library's count, in
  // milliseconds.
  double blackout = 0;
};

struct Report {
  size_t handoffs_wanted = 0;
  std::vector<HandoffReport> handoffs;  // committed ones
  Tally tally;
  size_t kept = 0;
  size_t lost = 0;
  size_t mid_message = 0;
  // By the library's count, in milliseconds.
  double blackout_p50 = 0;
  double blackout_p99 = 0;
  double blackout_max = 0;
  absl::Duration took;

  bool Passed() const;
};

// For people; ends with a line end.
std::string FormatTable(const Report& report);
// One JSON object on one line, without a line end.
std::string FormatJson(const Report& report);

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_REPORT_H_
