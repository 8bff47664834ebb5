// What a handoff tells of itself while it goes on, and what it leaves behind.

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/clock.h"
#include "handoff/giving.h"
#include "handoff/protocol/frame.h"

namespace handoff {
namespace {

using State = PredecessorMachine::State;

}  // namespace

absl::string_view Giving::PhaseNow() const {
  switch (machine_->state()) {
    case State::kAwaitReady:
      if (machine_->pre_copied_sent()) return "staging";
      [[fallthrough]];
    case State::kFirstRound:
      return "pre-copy";
    case State::kSecondRound:
    case State::kQuiescing:
    case State::kCutting:
      return "changes";
    case State::kFrozen:
      return "frozen";
    case State::kReleasing:
    case State::kWatching:
      return "watch";
    default:
      return "";
  }
}

void Giving::NotePhase(absl::Time now) {
  const absl::string_view phase = PhaseNow();
  if (phase == phases_.name()) return;
  if (phases_.name() == "changes") {
    // Also where it has got no further than to the cut.
    const uint64_t cut_at = process_.groups->cut_at();
    if (cut_at != std::numeric_limits<uint64_t>::max()) {
      phases_.Begin("frozen",
                    absl::FromUnixNanos(static_cast<int64_t>(cut_at)));
    }
  }
  if (phase == phases_.name()) return;
  // The answer may have come in the same turn.
  if (phases_.name() == "pre-copy" && phase == "changes") {
    phases_.Begin("staging", now);
  }
  phases_.End(now);
  if (!phase.empty()) phases_.Begin(phase, now);
}

absl::optional<v1::HandoffProgress> Giving::Progress() {
  if (phases_.name().empty()) return absl::nullopt;
  v1::HandoffProgress progress;
  progress.set_handoff_id(handoff_id());
  progress.set_phase(phases_.name());
  progress.set_rehearsal(rehearsal());
  if (peer() != nullptr) progress.set_successor_pid(peer()->credentials.pid);
  progress.set_successor_label(Printable(machine_->hello().label()));
  progress.set_started_at(static_cast<uint64_t>(absl::ToUnixNanos(started_)));
  progress.set_phase_started_at(static_cast<uint64_t>(
      absl::ToUnixNanos(started_ + (phases_.since() - begun_))));
  const bool first = machine_->state() <= State::kAwaitReady;
  progress.set_sessions_sent(first ? machine_->sessions_sent()
                                   : machine_->sessions());
  // Until all have been written down, as many as there were.
  progress.set_sessions_total(
      machine_->state() == State::kFirstRound
          ? std::max(machine_->offer().sessions(), machine_->sessions_sent())
          : machine_->sessions());
  return progress;
}

void Giving::NoteProgress(absl::Time now) {
  NotePhase(now);
  const State state = machine_->state();
  if (state == seen_) return;
  const State before = std::exchange(seen_, state);
  Reach(process_.options->fault_seam, "state", PredecessorMachine::Name(state),
        link_.channel().fd());
  const pid_t pid = peer() == nullptr ? 0 : peer()->credentials.pid;
  if (machine_->refused()) {
    Say(Event::Kind::kRefused, machine_->why().message());
  } else if (machine_->aborted()) {
    if (before != State::kAborting) {
      task_ = Task::kNone;
      process_.groups->Cancel();
      Say(Event::Kind::kAborted, machine_->why().message());
      Record(now);
    }
  } else if (state == State::kFirstRound) {
    Say(Event::Kind::kHandoffBegun,
        absl::StrCat("to pid ", pid, ", label ",
                     Printable(machine_->hello().label()),
                     rehearsal() ? ", which only rehearses" : ""));
  } else if (state == State::kAwaitReady) {
    Say(Event::Kind::kPreCopied, "the successor has a copy of everything");
  } else if (state == State::kSecondRound) {
    Say(Event::Kind::kReadyReceived, "the successor could serve");
  } else if (state == State::kFrozen) {
    Say(Event::Kind::kFinalSent, "the successor may commit");
  } else if (state == State::kReleasing) {
    Say(Event::Kind::kCommitted, absl::StrCat("pid ", pid, " serves now"));
  } else if (state == State::kWatching) {
    Say(Event::Kind::kReleased,
        task_ == Task::kRelease
            ? "a group does not release; watching the successor"
            : "copies closed; watching the successor");
    Record(now);
  } else if (machine_->rolled_back()) {
    recorded_ = false;
    Record(now);
  } else if (before == State::kWatching || before == State::kReleasing) {
    process_.roster->DropCopies();
    Say(Event::Kind::kWatchEnded, "the successor is on its own");
    Record(now);
  }
}

void Giving::Record(absl::Time now) {
  if (machine_->refused() || std::exchange(recorded_, true)) return;
  v1::LedgerHandoff handoff = outcomes_;
  handoff.set_handoff_id(machine_->offer().handoff_id());
  handoff.set_result(rehearsal()           ? "rehearsed"
                     : machine_->aborted() ? "aborted"
                                           : "committed");
  handoff.set_reason(std::string(machine_->why().message()));
  handoff.set_predecessor_pid(::getpid());
  if (peer() != nullptr) handoff.set_successor_pid(peer()->credentials.pid);
  handoff.set_generation(process_.generation + 1);
  handoff.set_started_at(static_cast<uint64_t>(absl::ToUnixNanos(started_)));
  handoff.set_seconds(absl::ToDoubleSeconds(now - begun_));
  phases_.AddTo(handoff);
  process_.ledger->Add(std::move(handoff));
}

}  // namespace handoff
