#ifndef HANDOFF_CLOCK_H_
#define HANDOFF_CLOCK_H_

#include <time.h>

#include "absl/time/time.h"

namespace handoff {

// CLOCK_MONOTONIC, as a time since an arbitrary start: what every deadline is
// measured by, so that a clock that is set neither freezes a service nor aborts
// a handoff. The same in all processes of a machine. Not for people.
inline absl::Time MonotonicNow() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::TimeFromTimespec(now);
}

}  // namespace handoff

#endif  // HANDOFF_CLOCK_H_
