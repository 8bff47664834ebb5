#ifndef HANDOFF_TOOLS_PROGRESS_BAR_H_
#define HANDOFF_TOOLS_PROGRESS_BAR_H_

#include <cstddef>
#include <set>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/admin.pb.h"

namespace handoff {

// How far a handoff is: on a terminal a line for each phase, the last one drawn
// again and again; elsewhere a line when a phase begins. A phase that is over
// before anything is said of it has its line all the same, in its place. Makes
// the text, and leaves writing it to its user. Not thread-safe.
class ProgressBar {
 public:
  // What to write at `now` to show `progress`. `width` is the number of the
  // terminal's columns, of which none is exceeded; 0: it is none.
  std::string Show(const admin::v1::HandoffProgress& progress, size_t width,
                   absl::Time now);
  // What to write once there is nothing more to show: leaves the last line.
  std::string End(absl::Time now);
  // The same where it is known what became of it.
  std::string End(const admin::v1::Handoff& result, size_t width,
                  absl::Time now);

 private:
  std::string Line(absl::Time now) const;
  std::string PassedLine(absl::string_view phase, absl::string_view time);

  admin::v1::HandoffProgress shown_;
  std::set<std::string> seen_;  // phases
  // The last line is not ended yet.
  bool open_ = false;
  size_t width_ = 0;
  absl::Time phase_began_;  // for us
};

}  // namespace handoff

#endif  // HANDOFF_TOOLS_PROGRESS_BAR_H_
