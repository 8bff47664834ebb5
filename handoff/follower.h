#ifndef HANDOFF_FOLLOWER_H_
#define HANDOFF_FOLLOWER_H_

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <string>

#include "absl/strings/string_view.h"
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
  // Follows the next handoff, or, with `under_way`, the one that is. No
  // rehearsals: those of others may come before it.
  explicit Follower(Control& control, bool under_way = false);

  // What is to begin the handoff has been started as this process. Others may
  // take its place; and it may have the handoff done by a process of its own.
  void SetChild(pid_t child) { child_ = child; }

  // Waits for what happens next, or until `deadline`. How far the handoff is,
  // where it has got further since, and at most ten times a second.
  absl::optional<v1::HandoffProgress> Step(absl::Time deadline);

  // Once it has come to its end; without its entries. Where its successor is
  // not the child, `reason` says so.
  const v1::LedgerHandoff* Result() const {
    return result_.has_value() ? &*result_ : nullptr;
  }
  // How the child has ended, where no handoff has begun; else empty.
  absl::string_view child_ended() const {
    return begun_.empty() ? child_ended_ : absl::string_view();
  }

 private:
  void ReadEvents();
  void Note(const v1::EventRecord& event);
  void FindResult();

  Control& control_;
  uint64_t after_;
  pid_t child_ = 0;
  // Of the handoffs that have begun: the first is the one that is followed.
  std::deque<uint64_t> begun_;
  bool quiet_ = false;
  v1::Status status_;
  absl::optional<v1::LedgerHandoff> result_;
  std::string child_ended_;
  std::string told_;
  absl::Time told_at_ = absl::InfinitePast();
};

}  // namespace handoff

#endif  // HANDOFF_FOLLOWER_H_
