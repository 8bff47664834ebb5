#ifndef HANDOFF_CONTROL_H_
#define HANDOFF_CONTROL_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "handoff/event_log.h"
#include "handoff/session.h"
#include "proto/handoff.pb.h"

namespace handoff {

// What an operator may see of a running process and do to it: what an admin
// endpoint is made of. Of Handoff::control(), and valid as long as it is.
//
// Thread-safe, from Ready() on. Nothing here slows a handoff: what needs a
// group's loop is posted to it and not counted as the group's work. Calls with a
// deadline block until then at the most; not for a loop, nor for an Observer.
class Control {
 public:
  virtual ~Control() = default;

  // As tools get it: who this is, what the handoff that is under way does, how
  // many descriptors there may be, what became of the last handoff.
  virtual v1::Status GetStatus() const = 0;
  // Oldest first.
  virtual v1::Ledger GetLedger() const = 0;
  // The same without the entries, which can be 100,000: for whoever asks often.
  virtual v1::Ledger GetLedgerSummaries() const = 0;
  // Everything that would be handed over now, as the kernel sees it; without
  // state. Sessions are in the order of their ids.
  virtual std::vector<v1::InventoryItem> GetInventory() const = 0;

  // What Snapshot would write of these sessions now, asked of their groups, in
  // the highest version of their types. Sessions that are not there, or end or
  // move meanwhile, are left out. It may hold secrets: show it only to whoever
  // may read them. UNAVAILABLE while a handoff quiesces or has frozen the
  // groups; DEADLINE_EXCEEDED.
  struct SessionState {
    uint64_t session = 0;
    // Of Snapshot; FAILED_PRECONDITION where the session is kept, and so has no
    // state that could move.
    absl::Status status;
    SessionSnapshot snapshot;
  };
  virtual absl::StatusOr<std::vector<SessionState>> ReadState(
      absl::Span<const uint64_t> sessions, absl::Time deadline) = 0;

  // What happened, here and in the generations before.
  virtual const EventLog& events() const = 0;
  // One more event, Event::Kind::kAudit, for the log and the observer: somebody
  // asked this process to do something. Does not wait.
  virtual void Audit(absl::string_view text) = 0;

  // As Handoff::StartSuccessor(), with another program in place of
  // Options::executable, where one is named. The pid of what it has started.
  virtual absl::StatusOr<pid_t> StartSuccessor(
      const std::string& executable) = 0;
  // Aborts the handoff that is under way, or ends the child that has not said
  // Hello yet, and returns once the successor has gone.
  // FAILED_PRECONDITION where there is none, or where it is committed;
  // DEADLINE_EXCEEDED where that is not known in time.
  virtual absl::Status Abort(absl::string_view reason, absl::Time deadline) = 0;

  // Refuses handoffs and rehearsals, of children too, with `reason`, until
  // Unlock() or `expiry` (by the wall clock). Replaces an earlier lock.
  // FAILED_PRECONDITION while a handoff is under way or done; INVALID_ARGUMENT
  // where `expiry` has passed.
  virtual absl::Status Lock(absl::string_view reason, absl::Time expiry) = 0;
  // FAILED_PRECONDITION where there is no lock.
  virtual absl::Status Unlock() = 0;

  // Makes every group accept connections or not (Group::SetAccepting); what
  // connects meanwhile waits in the kernel's queue. Lasts until it is called
  // again or the process ends: a successor accepts. UNIMPLEMENTED where no group
  // can; FAILED_PRECONDITION while a handoff is under way or done;
  // DEADLINE_EXCEEDED where a group does not say so within 5 s.
  virtual absl::Status SetAccepting(bool accepting) = 0;

  // Calls `done` once, when every group's loop has run what is posted to it now,
  // on the last of these loops; right away where there is no group. A loop that
  // hangs keeps it from being called; so does a handoff while it has frozen the
  // groups. `done` may outlive the caller's interest, not what it captures.
  virtual void Probe(std::function<void()> done) = 0;

  // Has the groups end these sessions, or all that there are (Group::DrainSession),
  // and returns when they have; what is left at the deadline is ended at once,
  // which takes a second at the most. NOT_FOUND where none of `sessions` is
  // there; FAILED_PRECONDITION while a handoff is under way. One that begins
  // meanwhile is not held up: what moves with it is neither `ended` nor
  // `cut_off`, nor is what a group does not end. UNAVAILABLE, and nothing more is
  // ended, where Wait() returns before all have ended.
  struct Drained {
    uint64_t asked = 0;    // sessions that were there
    uint64_t ended = 0;    // by themselves or gracefully
    uint64_t cut_off = 0;  // at the deadline
  };
  virtual absl::StatusOr<Drained> Drain(absl::Span<const uint64_t> sessions,
                                        bool all, absl::Time deadline) = 0;
};

}  // namespace handoff

#endif  // HANDOFF_CONTROL_H_
