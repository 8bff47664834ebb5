#include "handoff/observer.h"

namespace handoff {

absl::string_view EventKindName(Event::Kind kind) {
  switch (kind) {
    case Event::Kind::kStarted: return "started";
    case Event::Kind::kInheriting: return "inheriting";
    case Event::Kind::kPreCopied: return "pre-copied";
    case Event::Kind::kReadySent: return "ready-sent";
    case Event::Kind::kFinalDecoded: return "final-decoded";
    case Event::Kind::kHandoffBegun: return "handoff-begun";
    case Event::Kind::kReadyReceived: return "ready-received";
    case Event::Kind::kQuiescing: return "quiescing";
    case Event::Kind::kCut: return "cut";
    case Event::Kind::kFinalSent: return "final-sent";
    case Event::Kind::kCommitted: return "committed";
    case Event::Kind::kReleased: return "released";
    case Event::Kind::kRehearsed: return "rehearsed";
    case Event::Kind::kAborted: return "aborted";
    case Event::Kind::kRefused: return "refused";
    case Event::Kind::kAdopted: return "adopted";
    case Event::Kind::kRolledBack: return "rolled-back";
    case Event::Kind::kWatchEnded: return "watch-ended";
    case Event::Kind::kChildEnded: return "child-ended";
    case Event::Kind::kRejected: return "rejected";
    case Event::Kind::kDrained: return "drained";
    case Event::Kind::kAudit: return "audit";
    case Event::Kind::kNote: return "note";
  }
  return "unknown";
}

}  // namespace handoff
