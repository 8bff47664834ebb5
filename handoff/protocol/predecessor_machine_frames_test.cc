// Every frame in every state of the side that gives.

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/protocol/driven_predecessor.h"
#include "handoff/protocol/predecessor_machine.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

using Command = PredecessorMachine::Command;
using State = PredecessorMachine::State;

// Where `frame` leads to from `state`, while the word is as it must be there.
State Expected(State state, const std::string& frame) {
  if (frame == "unknown") return state;
  if (state == State::kAwaitHello) {
    return frame == "hello" ? State::kFirstRound : State::kEnded;
  }
  if (state == State::kWatching && frame == "retire") return State::kEnded;
  if (!Undecided(state)) return state;
  if (frame == "batch-ack") return state;
  if (frame == "ready" && state == State::kAwaitReady) {
    return State::kSecondRound;
  }
  return State::kAborting;
}

TEST(PredecessorMachineFramesTest, EveryFrameInEveryStateLeadsWhereItMust) {
  const NoDescriptorLeak no_leak;
  for (const State state : EveryPredecessorState()) {
    for (const NamedFrame& f : EveryFrame()) {
      SCOPED_TRACE(f.name + " in " + Name(state));
      DrivenPredecessor p;
      p.GoTo(state);
      ASSERT_EQ(p.machine.state(), state);
      p.Forget();
      p.Deliver(f.frame);
      const State then = Expected(state, f.name);
      EXPECT_EQ(p.machine.state(), then) << Name(p.machine.state());
      if (then == State::kAborting && then != state) {
        EXPECT_EQ(p.word.Load(), Outcome::kAborted);
        EXPECT_EQ(p.Count(Command::kThaw), state >= State::kQuiescing ? 1 : 0);
        EXPECT_EQ(p.SentNames(), f.name == "abort"
                                     ? std::vector<std::string>()
                                     : std::vector<std::string>({"abort"}));
      } else if (state == State::kAwaitHello && then == State::kEnded) {
        EXPECT_EQ(p.SentNames(), std::vector<std::string>({"refuse"}));
        EXPECT_TRUE(p.machine.refused());
        EXPECT_EQ(p.word.Load(), Outcome::kOpen);
      } else if (then == state) {
        EXPECT_TRUE(p.sent.empty()) << p.SentNames()[0];
        EXPECT_TRUE(p.commands.empty());
      }
    }
  }
}

TEST(PredecessorMachineFramesTest, NoFrameUndoesACommit) {
  for (const State state : {State::kFrozen, State::kReleasing}) {
    for (const NamedFrame& f : EveryFrame()) {
      SCOPED_TRACE(f.name + " in " + Name(state));
      DrivenPredecessor p;
      p.GoTo(state);
      p.word.Decide(Outcome::kCommitted);
      p.Deliver(f.frame);
      const bool waits = state == State::kFrozen &&
                         (f.name == "unknown" || f.name == "batch-ack");
      EXPECT_EQ(p.machine.state(), waits ? State::kFrozen : State::kReleasing);
      EXPECT_EQ(p.Count(Command::kRelease), waits ? 0 : 1);
      EXPECT_EQ(p.Count(Command::kThaw), 0);
      p.Finish([&] { p.machine.OnPeerClosed(p.now); });
      EXPECT_EQ(p.machine.state(), State::kReleasing);
      EXPECT_EQ(p.Count(Command::kRelease), 1);
    }
  }
}

TEST(PredecessorMachineFramesTest, DescriptorsComeWithHelloOnly) {
  const NoDescriptorLeak no_leak;
  for (const State state : EveryPredecessorState()) {
    for (const NamedFrame& f : EveryFrame()) {
      SCOPED_TRACE(f.name + " with a descriptor in " + Name(state));
      DrivenPredecessor p;
      p.GoTo(state);
      const size_t open = OpenDescriptors().size();
      p.Finish([&] { p.machine.OnFrame(f.frame, NumberedFds({9}), p.now); });
      EXPECT_LE(OpenDescriptors().size(), open) << "it kept the descriptor";
      if (f.name == "hello") {
        EXPECT_EQ(p.machine.state(), Expected(state, f.name));
      } else if (state == State::kAwaitHello) {
        EXPECT_TRUE(p.machine.refused());
      } else {
        EXPECT_EQ(p.machine.state(),
                  Undecided(state) ? State::kAborting : state);
      }
    }
  }
}

TEST(PredecessorMachineFramesTest, WhatCannotBeUsedAbortsForItsOwnReason) {
  for (const State state : EveryPredecessorState()) {
    SCOPED_TRACE(Name(state));
    DrivenPredecessor p;
    p.GoTo(state);
    p.Forget();
    p.Finish([&] {
      p.machine.OnBadFrame(v1::Abort::TRUNCATED,
                           absl::DataLossError("MSG_CTRUNC"), p.now);
    });
    if (state == State::kAwaitHello) {
      EXPECT_TRUE(p.machine.refused());
      EXPECT_EQ(p.sent.at(0).refuse().reason(), v1::Refuse::MALFORMED);
    } else if (Undecided(state)) {
      EXPECT_EQ(p.sent.at(0).abort().reason(), v1::Abort::TRUNCATED);
      EXPECT_EQ(p.sent.at(0).abort().detail(), "MSG_CTRUNC");
      EXPECT_TRUE(absl::IsDataLoss(p.machine.why()));
    } else {
      EXPECT_EQ(p.machine.state(), state);
      EXPECT_TRUE(p.sent.empty());
    }
  }
}

}  // namespace
}  // namespace handoff
