#include "handoff/protocol/in_memory_handoff.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "handoff/protocol/driven_predecessor.h"
#include "handoff/protocol/driven_successor.h"

namespace handoff {
namespace {

using PredecessorState = PredecessorMachine::State;
using SuccessorState = SuccessorMachine::State;

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

SuccessorMachine::Config SuccessorConfig(const v1::Hello& hello) {
  SuccessorMachine::Config config = DrivenSuccessor::DefaultConfig();
  config.limits = SmallWindows();
  config.hello = hello;
  return config;
}

v1::Abort::Reason ReasonOf(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) ? v1::Abort::MISMATCH
                                            : v1::Abort::MALFORMED;
}

}  // namespace

InMemoryHandoff::InMemoryHandoff(const Options& options)
    : options_(options),
      random_(options.seed),
      old_word_(word_, [this](Outcome o) { OnDecide(Side::kPredecessor, o); }),
      new_word_(word_, [this](Outcome o) { OnDecide(Side::kSuccessor, o); }),
      predecessor_(PredecessorConfig(options.kill_stuck_successor), &old_word_,
                   now_),
      successor_(SuccessorConfig(options.hello), now_),
      sessions_(options.sessions) {}

void InMemoryHandoff::OnDecide(Side side, Outcome want) {
  if (want == Outcome::kCommitted && side == Side::kPredecessor) {
    Break("the predecessor swaps the word to COMMITTED");
  }
  if (want == Outcome::kCommitted && rehearsal()) {
    Break("a rehearsal swaps the word to COMMITTED");
  }
  if (word() != Outcome::kOpen) return;
  if (want == Outcome::kCommitted && old_.alive && !frozen_) {
    Break("the word is swapped to COMMITTED while the predecessor serves");
  }
  Note(side, "swaps the word to ",
       want == Outcome::kCommitted ? "COMMITTED" : "ABORTED");
}

bool InMemoryHandoff::Ended(Side side) const {
  return side == Side::kPredecessor
             ? predecessor_.state() == PredecessorState::kEnded
             : successor_.state() == SuccessorState::kEnded;
}

bool InMemoryHandoff::CanRead(Side side) const {
  const Process& self = process(side);
  return self.reads && self.in.Readable(now_);
}

// What was sent before the end is read before it.
bool InMemoryHandoff::SeesEnd(Side side) const {
  const Process& self = process(side);
  const bool peer_lives = process(Other(side)).alive;
  if (self.reads && !self.in.empty()) return false;
  // Who could not use a frame never reads to the end, so that a death says
  // nothing: a Retire may be among the rest.
  return ((!connected_ || !peer_lives) && !self.told_closed) ||
         (!peer_lives && self.reads && !self.told_dead);
}

std::vector<InMemoryHandoff::Action> InMemoryHandoff::Runnable() {
  std::vector<Action> actions;
  for (const Side side : {Side::kPredecessor, Side::kSuccessor}) {
    Process& self = process(side);
    if (!self.alive || self.hung) continue;
    const bool can_send =
        connected_ && !self.told_closed && process(Other(side)).in.has_room() &&
        With(side, [](auto& machine) { return machine.ToSend() != nullptr; });
    if (can_send) actions.push_back({side, Step::kSend});
    if (Ended(side)) {
      if (!can_send && !self.left) actions.push_back({side, Step::kLeave});
      continue;
    }
    if (CanRead(side) || SeesEnd(side)) {
      actions.push_back({side, Step::kReceive});
    }
    if (!self.work.empty() && now_ >= self.works_at) {
      actions.push_back({side, Step::kWork});
    }
    const bool late = With(
        side, [&](auto& machine) { return machine.NextDeadline() <= now_; });
    if (late) actions.push_back({side, Step::kTick});
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
    case Step::kTick:
      Note(action.side, "sees that its deadline has passed");
      break;
  }
  With(action.side, [&](auto& machine) { machine.OnTime(now_); });
  CarryCommands();
}

bool InMemoryHandoff::AdvanceTime() {
  absl::Time next = absl::InfiniteFuture();
  for (const Side side : {Side::kPredecessor, Side::kSuccessor}) {
    const Process& self = process(side);
    if (!self.alive || self.hung) continue;
    With(side,
         [&](auto& machine) { next = std::min(next, machine.NextDeadline()); });
    if (Ended(side)) continue;
    if (self.reads && !self.in.empty()) {
      next = std::min(next, self.in.held_until());
    }
    if (!self.work.empty()) next = std::min(next, self.works_at);
  }
  if (next == absl::InfiniteFuture()) return false;
  now_ = std::max(now_, next);
  for (const Side side : {Side::kPredecessor, Side::kSuccessor}) {
    if (!process(side).alive || process(side).hung) continue;
    Note(side, "has waited");
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
  Note(Side::kPredecessor, "and new lose their connection");
  connected_ = false;
}

void InMemoryHandoff::HoldBack(Side side, absl::Duration duration) {
  Note(side, "receives nothing for ", absl::FormatDuration(duration));
  process(side).in.HoldBack(now_ + duration);
}

void InMemoryHandoff::Stall(Side side, absl::Duration duration) {
  Note(side, "finishes nothing for ", absl::FormatDuration(duration));
  process(side).works_at = now_ + duration;
}

void InMemoryHandoff::Die(Side side) {
  if (!process(side).alive) return;
  Note(side, "dies");
  any_died_ = true;
  End(side);
}

void InMemoryHandoff::End(Side side) {
  process(side).alive = false;
  process(side).in.Clear();
  process(side).work.clear();
}

void InMemoryHandoff::RetireAndExit() {
  if (!process(Side::kSuccessor).alive) return;
  Note(Side::kSuccessor, "retires");
  successor_.Retire(now_);
  retires_ =
      connected_ && successor_.committed() && new_.spoil == FrameFault::kNone;
  while (connected_ && successor_.ToSend() != nullptr) Send(Side::kSuccessor);
  Die(Side::kSuccessor);
}

void InMemoryHandoff::Send(Side side) {
  InMemoryDirection& out = process(Other(side)).in;
  const FrameFault fault =
      std::exchange(process(side).spoil, FrameFault::kNone);
  With(side, [&](auto& machine) {
    OutgoingFrame* next = machine.ToSend();
    Note(side, "sends ", BodyName(next->frame),
         fault == FrameFault::kNone ? "" : ", which arrives with: ",
         fault == FrameFault::kNone ? "" : Name(fault));
    CheckSent(next->frame);
    // Nobody reads what is sent to a process that has ended.
    if (process(Other(side)).alive) {
      out.Send(*next, fault, random_);
    } else {
      out.Lose(*next);
    }
    machine.OnSent(now_);
  });
}

void InMemoryHandoff::Receive(Side side) {
  Process& self = process(side);
  With(side, [&](auto& machine) {
    if (CanRead(side)) {
      auto arrived = self.in.Receive();
      if (!arrived.ok()) {
        Note(side, "receives: ", arrived.status().message());
        self.reads = false;
        return machine.OnBadFrame(ReasonOf(arrived.status()), arrived.status(),
                                  now_);
      }
      Note(side, "receives ", BodyName(arrived->frame));
      retired_ = retired_ || arrived->frame.has_retire();
      machine.OnFrame(arrived->frame, std::move(arrived->descriptors), now_);
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
  const bool knew_death = self.told_dead;
  self.told_closed = self.told_dead = self.left = true;
  self.in.Clear();
  // Who has handed everything over exits, and so does who got nothing.
  const bool exits = side == Side::kPredecessor
                         ? predecessor_.committed() && !rolled_back_
                         : !successor_.committed();
  if (exits && side == Side::kPredecessor && knew_death && !retired_ &&
      !word_.Retired()) {
    Break("knew that the successor had crashed, and did not roll back");
  }
  if (exits) End(side);
}

}  // namespace handoff
