#ifndef HANDOFF_FOLLOWER_H_
#define HANDOFF_FOLLOWER_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "handoff/control.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Looks at a process's events and status until a handoff has come to its end,
// without touching it: from the quiesce to the commit it asks the process
// nothing. Make it before what begins the handoff, so that no event is missed.
// For one thread.
class Follower {
 public:
  // Follows the next handoff, or, with `under_way`, the one that is.
  explicit Follower(Control& control, bool under_way = false);

  // Waits for what happens next, or until `deadline`. How far the handoff is,
  // where it has got further since, and at most ten times a second.
  absl::optional<v1::HandoffProgress> Step(absl::Time deadline);

  // Once it has come to its end; without its entries.
  const v1::LedgerHandoff* Result() const;
  // Whether it is somebody's rehearsal; and follows the next one.
  bool rehearsal() const { return rehearsal_; }
  void Forget();
  // How the successor that was started has ended, where it began no handoff.
  const std::string& child_ended() const { return child_ended_; }

 private:
  void ReadEvents();
  void Note(const v1::EventRecord& event);

  Control& control_;
  uint64_t after_;
  uint64_t id_ = 0;
  bool rehearsal_ = false;
  bool quiet_ = false;
  v1::Status status_;
  std::string child_ended_;
  std::string told_;
  absl::Time told_at_ = absl::InfinitePast();
};

}  // namespace handoff

#endif  // HANDOFF_FOLLOWER_H_
