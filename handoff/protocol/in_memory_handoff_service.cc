// The services of both processes, and what must be true of them.

#include <algorithm>
#include <utility>

#include "handoff/protocol/in_memory_handoff.h"

namespace handoff {
namespace {

using PredecessorCommand = PredecessorMachine::Command;
using SuccessorCommand = SuccessorMachine::Command;

constexpr size_t kSessionsPerBatch = 2;
// The successor cannot take this one.
constexpr uint64_t kRefusedSession = 3;
// What the numbered descriptors that are no session's count to: the word as in
// DrivenPredecessor::DefaultConfig().
constexpr uint64_t kWordNumber = 2;
constexpr uint64_t kListenerNumber = 1'000;
constexpr uint64_t kBlobNumber = 2'000;

}  // namespace

void InMemoryHandoff::Break(absl::string_view promise) {
  if (fault_.empty()) fault_ = std::string(promise);
}

bool InMemoryHandoff::Owns(Side side) const {
  if (!process(side).alive) return false;
  if (side == Side::kSuccessor) return serving_;
  return !frozen_ && (!released_ || rolled_back_);
}

void InMemoryHandoff::Check() {
  if (Owns(Side::kPredecessor) && Owns(Side::kSuccessor)) Break("two owners");
  if (predecessor_.committed() && predecessor_.aborted()) Break("two outcomes");
  if (predecessor_.committed() && word() != Outcome::kCommitted) {
    Break("the predecessor says committed, the word does not");
  }
  if (predecessor_.aborted() && word() != Outcome::kAborted) {
    Break("the predecessor says aborted, the word does not");
  }
  if (successor_.committed() && word() != Outcome::kCommitted) {
    Break("the successor says committed, the word does not");
  }
  if (serving_ && !successor_.committed()) Break("served before the commit");
  if (released_ && !predecessor_.committed()) Break("released, uncommitted");
  if (thaws_ > (quiesced_ ? 1 : 0)) Break("thawed more than was quiesced");
  if (offered_ && Ended(Side::kSuccessor) && !successor_.committed() &&
      word() != Outcome::kAborted) {
    Break("the successor gave up, and the word does not say so");
  }
  if (!sessions_.fault().empty()) Break(sessions_.fault());
}

void InMemoryHandoff::CheckSent(const v1::Frame& frame) {
  if (frame.has_abort() && offered_ && word() != Outcome::kAborted) {
    Break("Abort is sent before the word is ABORTED");
  }
  if (frame.has_committed() && word() != Outcome::kCommitted) {
    Break("Committed is sent before the word is COMMITTED");
  }
  if (frame.has_final() && !frozen_) Break("Final is sent, nothing is frozen");
  if (frame.has_released() && !released_) Break("Released is sent too early");
}

std::string InMemoryHandoff::FaultAtEnd() const {
  for (const Side side : {Side::kPredecessor, Side::kSuccessor}) {
    if (!process(side).alive) continue;
    if (!Ended(side)) return "a machine waits for ever";
    if (!Owns(side)) return "a process lives and serves nobody";
  }
  if (!old_.alive && !new_.alive && !any_died_) return "both have gone";
  if (old_.alive && thaws_ != (quiesced_ && !predecessor_.committed())) {
    return "what was quiesced was not thawed";
  }
  return "";
}

void InMemoryHandoff::CarryCommands() {
  // Who does not run carries out nothing; what it is told meanwhile waits.
  while (old_.alive) {
    const auto command = predecessor_.NextCommand();
    if (!command.has_value()) break;
    Carry(*command);
  }
  while (new_.alive) {
    const auto command = successor_.NextCommand();
    if (!command.has_value()) break;
    Carry(*command);
  }
  // A driver takes back what it was about to do for an aborted handoff.
  if (predecessor_.aborted()) old_.work.clear();
  Check();
}

void InMemoryHandoff::Carry(PredecessorCommand command) {
  switch (command) {
    case PredecessorCommand::kRunRound:
      return StartRound();
    case PredecessorCommand::kQuiesce:
      // One may be taken for something else where its Hello was changed.
      if (rehearsal() && !old_.in.forged()) Break("a rehearsal quiesces");
      quiesced_ = true;
      old_.work.push_back([this] { predecessor_.OnQuiesced(now_); });
      return;
    case PredecessorCommand::kCut:
      old_.work.push_back([this] {
        Note(Side::kPredecessor, "freezes");
        frozen_ = true;
        StartRound();
      });
      return;
    case PredecessorCommand::kThaw:
      Note(Side::kPredecessor, "thaws");
      if (word() != Outcome::kAborted)
        Break("thawed before the word was ABORTED");
      ++thaws_;
      old_.work.clear();
      frozen_ = false;
      return;
    case PredecessorCommand::kRelease:
      if (word() != Outcome::kCommitted) Break("released, uncommitted");
      old_.work.clear();
      old_.work.push_back([this] {
        Note(Side::kPredecessor, "releases");
        released_ = true;
        frozen_ = false;
        sessions_.Release();
        predecessor_.OnReleased(now_);
      });
      return;
    case PredecessorCommand::kRollBack:
      Note(Side::kPredecessor, "rolls back");
      if (new_.alive) Break("rolled back while the successor lives");
      if (retires_) Break("rolled back though the successor had retired");
      old_.work.clear();
      rolled_back_ = released_ = true;
      frozen_ = false;
      sessions_.Release();
      return;
    case PredecessorCommand::kKillPeer:
      Note(Side::kSuccessor, "is killed");
      if (word() != Outcome::kAborted)
        Break("killed before the word was ABORTED");
      return End(Side::kSuccessor);
  }
}

void InMemoryHandoff::Carry(SuccessorCommand command) {
  switch (command) {
    case SuccessorCommand::kOffered: {
      const uint64_t word = NumberOf(successor_.offer_descriptors()[0].get());
      successor_.offer_descriptors().clear();
      if (word != kWordNumber) {
        return successor_.Abort(v1::Abort::MALFORMED, "this is no word", now_);
      }
      offered_ = true;
      return successor_.SetWord(&new_word_, now_);
    }
    case SuccessorCommand::kStaged:
      new_.work.push_back([this] {
        v1::Ready ready;
        ready.add_refused()->set_id(kRefusedSession);
        successor_.Ready(std::move(ready), now_);
      });
      return;
    case SuccessorCommand::kDecode:
      new_.work.push_back([this] { successor_.OnDecoded(now_); });
      return;
    case SuccessorCommand::kServe:
      Note(Side::kSuccessor, "serves");
      serving_ = true;
      if (new_.in.forged()) return;
      if (const std::string differs =
              sessions_.Difference(successor_.inventory());
          !differs.empty()) {
        Break(differs);
      }
      return sessions_.TakeAll(successor_.inventory());
    case SuccessorCommand::kAdopt:
      Note(Side::kSuccessor, "adopts");
      serving_ = adopted_ = true;
      if (old_.alive) Break("adopted from a predecessor that lives");
      if (predecessor_.aborted()) Break("adopted what had been aborted");
      if (!new_.in.forged()) sessions_.TakeUntouched(successor_.inventory());
      return;
    case SuccessorCommand::kReleased:
      return;
  }
}

void InMemoryHandoff::Live() {
  for (int i = 0; i < options_.changes_per_action; ++i) {
    if (Owns(Side::kPredecessor) && !old_.hung && !released_) sessions_.Live();
    if (Owns(Side::kSuccessor) && !new_.hung) sessions_.LiveAtSuccessor();
  }
}

void InMemoryHandoff::StartRound() {
  if (std::exchange(first_round_, false)) {
    old_.work.push_back([this] {
      OutgoingFrame out;
      auto* batch = out.frame.mutable_descriptors_batch();
      for (const auto role :
           {v1::Descriptors::HANDOFF_LISTENER, v1::Descriptors::LISTENER}) {
        batch->add_entries()->set_role(role);
        batch->mutable_entries()->rbegin()->set_name("listener");
        out.descriptors.push_back(SharedNumberedFd(kListenerNumber));
      }
      predecessor_.AddBatch(std::move(out), now_);
    });
  }
  old_.work.push_back([this] {
    OutgoingFrame out;
    auto* blob = out.frame.mutable_blobs()->add_entries();
    blob->set_name("config");
    blob->set_value_in(1);
    out.descriptors.push_back(SharedNumberedFd(kBlobNumber));
    predecessor_.AddBatch(std::move(out), now_);
  });
  old_.work.push_back([this, ids = sessions_.Ids()] {
    SendSome(ids, [this] {
      if (frozen_) {
        predecessor_.OnCut(4711, now_);
      } else {
        predecessor_.OnRoundDone(now_);
      }
    });
  });
}

void InMemoryHandoff::SendSome(std::deque<uint64_t> ids,
                               std::function<void()> then) {
  OutgoingFrame batch;
  const bool cutting =
      predecessor_.state() == PredecessorMachine::State::kCutting;
  for (size_t i = 0; i < kSessionsPerBatch && !ids.empty(); ++i) {
    sessions_.AddTo(batch, ids.front(), predecessor_.ready(), cutting);
    ids.pop_front();
  }
  if (ids.empty()) sessions_.AddClosedTo(batch);
  if (batch.frame.has_sessions()) {
    predecessor_.AddBatch(std::move(batch), now_);
  }
  if (ids.empty()) return then();
  old_.work.push_back([this, ids = std::move(ids), then = std::move(then)] {
    SendSome(ids, then);
  });
}

}  // namespace handoff
