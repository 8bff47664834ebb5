#include "handoff/protocol/in_memory_handoff.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "handoff/protocol/driven_predecessor.h"
#include "handoff/protocol/driven_successor.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

using PredecessorCommand = PredecessorMachine::Command;
using PredecessorState = PredecessorMachine::State;
using SuccessorCommand = SuccessorMachine::Command;
using SuccessorState = SuccessorMachine::State;

// Frames that a direction of the connection holds; small, so that it fills.
constexpr size_t kQueueFrames = 3;
constexpr size_t kSessionsPerBatch = 2;
// The successor cannot take this one.
constexpr uint64_t kRefusedSession = 3;
// What the numbered descriptors that are no session's count to.
constexpr uint64_t kListenerNumber = 1'000;
constexpr uint64_t kBlobNumber = 2'000;

Limits SmallWindows() {
  Limits limits;
  limits.window_frames = 2;
  limits.window_descriptors = 3;
  return limits;
}

PredecessorMachine::Config PredecessorConfig(bool kill_stuck_successor) {
  PredecessorMachine::Config config = DrivenPredecessor::DefaultConfig();
  config.limits = SmallWindows();
  config.kill_stuck_successor = kill_stuck_successor;
  return config;
}

SuccessorMachine::Config SuccessorConfig() {
  SuccessorMachine::Config config = DrivenSuccessor::DefaultConfig();
  config.limits = SmallWindows();
  return config;
}

}  // namespace

InMemoryHandoff::InMemoryHandoff(bool kill_stuck_successor)
    : predecessor_(PredecessorConfig(kill_stuck_successor), &word_, now_),
      successor_(SuccessorConfig(), now_) {}

bool InMemoryHandoff::Ended(Side side) const {
  return side == Side::kPredecessor
             ? predecessor_.state() == PredecessorState::kEnded
             : successor_.state() == SuccessorState::kEnded;
}

void InMemoryHandoff::Note(Side side, const std::string& what) {
  absl::StrAppend(&log_, side == Side::kPredecessor ? "old " : "new ", what,
                  "\n");
}

void InMemoryHandoff::Break(const std::string& promise) {
  if (fault_.empty()) fault_ = promise;
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
}

std::vector<InMemoryHandoff::Action> InMemoryHandoff::Runnable() {
  std::vector<Action> actions;
  for (const Side side : {Side::kPredecessor, Side::kSuccessor}) {
    Process& self = process(side);
    const Process& peer = process(Other(side));
    if (!self.alive || self.hung) continue;
    const bool can_send =
        connected_ && !self.told_closed && peer.arrived.size() < kQueueFrames &&
        With(side, [](auto& machine) { return machine.ToSend() != nullptr; });
    if (can_send) actions.push_back({side, Step::kSend});
    if (Ended(side)) {
      if (!can_send && !self.told_dead) actions.push_back({side, Step::kLeave});
      continue;
    }
    const bool gone = !connected_ || !peer.alive;
    if (!self.arrived.empty() || (gone && !self.told_closed) ||
        (!peer.alive && !self.told_dead)) {
      actions.push_back({side, Step::kReceive});
    }
    if (!self.work.empty()) actions.push_back({side, Step::kWork});
  }
  return actions;
}

void InMemoryHandoff::Run(Action action) {
  now_ += absl::Milliseconds(1);
  Live();
  Process& self = process(action.side);
  switch (action.step) {
    case Step::kSend:
      Send(action.side);
      break;
    case Step::kReceive:
      Receive(action.side);
      break;
    case Step::kWork: {
      const std::function<void()> work = std::move(self.work.front());
      self.work.pop_front();
      work();
      break;
    }
    case Step::kLeave:
      Leave(action.side);
      break;
  }
  With(action.side, [&](auto& machine) { machine.OnTime(now_); });
  CarryCommands();
}

bool InMemoryHandoff::AdvanceTime() {
  absl::Time next = absl::InfiniteFuture();
  for (const Side side : {Side::kPredecessor, Side::kSuccessor}) {
    if (!process(side).alive || process(side).hung) continue;
    With(side,
         [&](auto& machine) { next = std::min(next, machine.NextDeadline()); });
  }
  if (next == absl::InfiniteFuture()) return false;
  now_ = std::max(now_, next);
  absl::StrAppend(&log_, "time passes\n");
  for (const Side side : {Side::kPredecessor, Side::kSuccessor}) {
    if (!process(side).alive || process(side).hung) continue;
    With(side, [&](auto& machine) { machine.OnTime(now_); });
  }
  CarryCommands();
  return true;
}

void InMemoryHandoff::Settle(const Pick& pick) {
  while (true) {
    const std::vector<Action> actions = Runnable();
    if (!actions.empty()) {
      Run(actions[pick(actions.size())]);
    } else if (!AdvanceTime()) {
      return;
    }
  }
}

void InMemoryHandoff::Abort(Side side) {
  if (!process(side).alive) return;
  Note(side, "is told to abort");
  With(side, [&](auto& machine) {
    machine.Abort(v1::Abort::STOPPED, "told to abort", now_);
  });
  CarryCommands();
}

void InMemoryHandoff::ReceiveBadFrame(Side side) {
  if (!process(side).alive) return;
  Note(side, "receives what it cannot use");
  With(side, [&](auto& machine) {
    machine.OnBadFrame(v1::Abort::TRUNCATED, absl::DataLossError("truncated"),
                       now_);
  });
  CarryCommands();
}

void InMemoryHandoff::CloseConnection() {
  absl::StrAppend(&log_, "the connection breaks\n");
  connected_ = false;
}

void InMemoryHandoff::Die(Side side) {
  Note(side, "dies");
  process(side).alive = false;
  process(side).arrived.clear();
  process(side).work.clear();
}

void InMemoryHandoff::RetireAndExit() {
  Note(Side::kSuccessor, "retires");
  successor_.Retire(now_);
  while (connected_ && successor_.ToSend() != nullptr) Send(Side::kSuccessor);
  Die(Side::kSuccessor);
}

void InMemoryHandoff::Send(Side side) {
  With(side, [&](auto& machine) {
    OutgoingFrame* next = machine.ToSend();
    next->frame.set_seq(++process(side).seq);
    Datagram datagram;
    datagram.frame = next->frame;
    for (const SharedFd& fd : next->descriptors) {
      datagram.descriptors.emplace_back(::fcntl(fd->get(), F_DUPFD_CLOEXEC, 0));
    }
    Note(side, absl::StrCat("sends ", BodyName(datagram.frame)));
    // Nobody reads what is sent to a process that has ended.
    if (process(Other(side)).alive) {
      process(Other(side)).arrived.push_back(std::move(datagram));
    }
    machine.OnSent(now_);
  });
}

void InMemoryHandoff::Receive(Side side) {
  Process& self = process(side);
  With(side, [&](auto& machine) {
    if (!self.arrived.empty()) {
      Datagram datagram = std::move(self.arrived.front());
      self.arrived.pop_front();
      Note(side, absl::StrCat("receives ", BodyName(datagram.frame)));
      machine.OnFrame(datagram.frame, std::move(datagram.descriptors), now_);
    } else if (!self.told_closed) {
      Note(side, "reads the end");
      self.told_closed = true;
      machine.OnPeerClosed(now_);
    } else {
      Note(side, "sees that its peer is dead");
      self.told_dead = true;
      machine.OnPeerDead(now_);
    }
  });
}

void InMemoryHandoff::Leave(Side side) {
  Note(side, "leaves");
  connected_ = false;
  Process& self = process(side);
  self.told_closed = self.told_dead = true;
  self.arrived.clear();
  // Who has handed everything over exits, and so does who got nothing.
  const bool exits = side == Side::kPredecessor
                         ? predecessor_.committed() && !rolled_back_
                         : !successor_.committed();
  if (exits) Die(side);
}

void InMemoryHandoff::CarryCommands() {
  while (auto command = predecessor_.NextCommand()) Carry(*command);
  while (auto command = successor_.NextCommand()) Carry(*command);
  // A driver takes back what it was about to do for an aborted handoff.
  if (predecessor_.aborted()) old_.work.clear();
  Check();
}

void InMemoryHandoff::Carry(PredecessorCommand command) {
  switch (command) {
    case PredecessorCommand::kRunRound:
      return StartRound();
    case PredecessorCommand::kQuiesce:
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
      ++thaws_;
      old_.work.clear();
      frozen_ = false;
      return;
    case PredecessorCommand::kRelease:
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
      rolled_back_ = true;
      return;
    case PredecessorCommand::kKillPeer:
      return Die(Side::kSuccessor);
  }
}

void InMemoryHandoff::Carry(SuccessorCommand command) {
  switch (command) {
    case SuccessorCommand::kOffered:
      offered_ = true;
      successor_.offer_descriptors().clear();
      return successor_.SetWord(&word_, now_);
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
      if (const std::string differs =
              sessions_.Difference(successor_.inventory());
          !differs.empty()) {
        Break(differs);
      }
      return;
    case SuccessorCommand::kAdopt:
      Note(Side::kSuccessor, "adopts");
      serving_ = true;
      if (old_.alive) Break("adopted from a predecessor that lives");
      return;
    case SuccessorCommand::kReleased:
      return;
  }
}

void InMemoryHandoff::Live() {
  if (Owns(Side::kPredecessor) && !old_.hung && !released_) sessions_.Live();
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
  for (size_t i = 0; i < kSessionsPerBatch && !ids.empty(); ++i) {
    sessions_.AddTo(batch, ids.front(), predecessor_.ready());
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
