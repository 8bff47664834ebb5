#ifndef HANDOFF_TOOLS_LOAD_PROGRESS_H_
#define HANDOFF_TOOLS_LOAD_PROGRESS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace handoff::load {

// Says on standard error how far the run is: on a terminal one line that
// changes, elsewhere a line now and then. Not thread-safe.
class Progress {
 public:
  Progress();

  // Whether it is time for another Show().
  bool Due(absl::Time now) const { return now >= next_; }
  void Show(absl::Time now, absl::string_view line);
  // Something that stays.
  void Say(absl::string_view line);

 private:
  const bool terminal_;
  absl::Time next_ = absl::InfinitePast();
  bool shown_ = false;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_PROGRESS_H_
