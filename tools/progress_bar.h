#ifndef HANDOFF_TOOLS_PROGRESS_BAR_H_
#define HANDOFF_TOOLS_PROGRESS_BAR_H_

#include <cstddef>
#include <string>

#include "absl/time/time.h"
#include "proto/admin.pb.h"

namespace handoff {

// How far a handoff is: on a terminal a line for each phase, the last one drawn
// again and again; elsewhere a line when a phase begins. Makes the text, and
// leaves writing it to its user. Not thread-safe.
class ProgressBar {
 public:
  // What to write at `now` to show `progress`. `width` is the number of the
  // terminal's columns, of which none is exceeded; 0: it is none.
  std::string Show(const admin::v1::HandoffProgress& progress, size_t width,
                   absl::Time now);
  // What to write once there is nothing more to show: leaves the last line.
  std::string End(absl::Time now);

 private:
  std::string Line(absl::Time now) const;

  admin::v1::HandoffProgress shown_;
  bool any_ = false;
  // The last line is not ended yet.
  bool open_ = false;
  size_t width_ = 0;
  absl::Time phase_began_;  // for us
};

}  // namespace handoff

#endif  // HANDOFF_TOOLS_PROGRESS_BAR_H_
