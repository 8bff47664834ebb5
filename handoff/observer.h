#ifndef HANDOFF_OBSERVER_H_
#define HANDOFF_OBSERVER_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/strings/string_view.h"

namespace handoff {

// Something that happened. `text` is one line for people, without state.
struct Event {
  enum class Kind {
    kStarted,        // fresh: nobody served at the path
    kInheriting,     // successor: an Offer was accepted
    kPreCopied,      // the first round is complete (both sides)
    kReadySent,      // successor: Ready was sent
    kFinalDecoded,   // successor: about to swap the word
    kHandoffBegun,   // predecessor: an Offer was made
    kReadyReceived,  // predecessor
    kQuiescing,      // predecessor
    kCut,            // predecessor: every group is frozen
    kFinalSent,      // predecessor: the successor may commit
    kCommitted,      // both sides
    kReleased,       // predecessor: its copies are closed
    kRehearsed,      // successor: how the rehearsal went
    kAborted,        // both sides; text has the reason
    kRefused,        // both sides; nothing was moved
    kAdopted,        // successor: the predecessor died, it serves what it has
    kRolledBack,     // predecessor: the successor crashed, it accepts again
    kWatchEnded,     // predecessor
    kChildEnded,     // a successor that we had started has ended
    kRejected,       // somebody connected who may not, or spoke garbage
    kDrained,        // predecessor: what it had kept has ended
    kAudit,          // somebody told this process to do something
    kNote,           // worth a line in a log, nothing to act upon
  };
  Kind kind;
  // 0 where the event belongs to no handoff.
  uint64_t handoff_id = 0;
  absl::string_view text;
  // Of a handoff: the other process, as the kernel names it, where it has
  // spoken; else 0.
  pid_t peer = 0;
  // Of a handoff in which nothing moves.
  bool rehearsal = false;
};

// "started", "pre-copied", ...
absl::string_view EventKindName(Event::Kind kind);

// Told of events, in order, from threads of the library or from a caller of
// Start(), TakeSessions() or Ready(); never from two threads at once. Must not
// block: a handoff waits for it. Must not call the Handoff that it observes.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnEvent(const Event& event) = 0;
};

}  // namespace handoff

#endif  // HANDOFF_OBSERVER_H_
