#ifndef HANDOFF_FAULT_SEAM_H_
#define HANDOFF_FAULT_SEAM_H_

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace handoff {

// Told of every step of a handoff at the moment that it is taken, on the thread
// that takes it: where a test makes a process fail. Thread-safe.
//
// The steps, on either side:
//
//   sent X, received X   a frame: "sent hello". Received: before the machine
//                        has seen it
//   state X              the machine's, once it has changed
//   hook X               before a call into the service: snapshot, quiesce, cut
//                        (the group is frozen), thaw, release, take-back,
//                        save-blob, restore, restore-blob, drop (of what an
//                        aborted handoff had brought)
class FaultSeam {
 public:
  virtual ~FaultSeam() = default;
  // `channel`: the connection with the peer; -1 where the step has none.
  virtual void Reached(absl::string_view step, int channel) = 0;
};

// Costs nothing where there is no seam.
inline void Reach(FaultSeam* seam, absl::string_view kind,
                  absl::string_view name, int channel = -1) {
  if (seam != nullptr) seam->Reached(absl::StrCat(kind, " ", name), channel);
}

}  // namespace handoff

#endif  // HANDOFF_FAULT_SEAM_H_
