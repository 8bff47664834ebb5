// Every frame in every state of the side that takes.

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/protocol/driven_successor.h"
#include "handoff/protocol/successor_machine.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

using Command = SuccessorMachine::Command;
using State = SuccessorMachine::State;

// Where `frame`, with the descriptors that it needs, leads to from `state`.
State Expected(State state, const std::string& frame) {
  if (frame == "unknown" || state >= State::kReleased) return state;
  if (state == State::kCommitted) {
    return frame == "released" ? State::kReleased : state;
  }
  if (state == State::kAwaitOffer && frame == "offer") return State::kMapping;
  const bool batch =
      frame == "descriptors" || frame == "blobs" || frame == "sessions";
  if (batch && (state == State::kStaging || state == State::kReady)) {
    return state;
  }
  if (state == State::kStaging && frame == "pre-copied") return State::kStaged;
  if (state == State::kReady && frame == "final") return State::kDecoding;
  return State::kEnded;
}

TEST(SuccessorMachineFramesTest, EveryFrameInEveryStateLeadsWhereItMust) {
  const NoDescriptorLeak no_leak;
  for (const State state : EverySuccessorState()) {
    for (const NamedFrame& f : EveryFrame()) {
      SCOPED_TRACE(f.name + " in " + Name(state));
      DrivenSuccessor s;
      s.GoTo(state);
      ASSERT_EQ(s.machine.state(), state);
      s.Forget();
      const Outcome before = s.word.Load();
      s.Deliver(f.frame, f.frame.has_offer() ? NumberedFds({1, 2, 3})
                                             : std::vector<UniqueFd>());
      const State then = Expected(state, f.name);
      EXPECT_EQ(s.machine.state(), then) << Name(s.machine.state());
      if (then == State::kEnded && then != state) {
        const bool told = f.name == "abort" ||
                          (f.name == "refuse" && state == State::kAwaitOffer);
        EXPECT_EQ(s.SentNames(), told ? std::vector<std::string>()
                                      : std::vector<std::string>({"abort"}));
        const bool mapped = state > State::kMapping;
        EXPECT_EQ(s.word.Load(), mapped ? Outcome::kAborted : Outcome::kOpen);
        EXPECT_FALSE(s.machine.why().ok());
        EXPECT_TRUE(s.commands.empty());
        EXPECT_FALSE(s.machine.committed());
      } else {
        EXPECT_EQ(s.word.Load(), before);
        const bool acknowledged =
            then == state && state < State::kCommitted && IsBatch(f.frame);
        EXPECT_EQ(s.SentNames(), acknowledged
                                     ? std::vector<std::string>({"batch-ack"})
                                     : std::vector<std::string>());
      }
    }
  }
}

TEST(SuccessorMachineFramesTest, NoFrameMakesAnEndedOneAct) {
  for (const NamedFrame& f : EveryFrame()) {
    SCOPED_TRACE(f.name);
    DrivenSuccessor s;
    s.GoTo(State::kStaging);
    s.Finish([&] { s.machine.Abort(v1::Abort::RESTORE, "no", s.now); });
    s.Forget();
    s.Deliver(f.frame, NumberedFds({1}));
    s.Finish([&] { s.machine.Ready({}, s.now); });
    s.Finish([&] { s.machine.OnDecoded(s.now); });
    s.Finish([&] { s.machine.Retire(s.now); });
    s.Finish([&] { s.machine.OnPeerDead(s.now); });
    EXPECT_EQ(s.machine.state(), State::kEnded);
    EXPECT_TRUE(s.sent.empty() && s.commands.empty());
    EXPECT_EQ(s.machine.why().message(), "no") << "the first reason counts";
    EXPECT_EQ(s.word.Load(), Outcome::kAborted);
  }
}

TEST(SuccessorMachineFramesTest, NoDescriptorIsKeptThatNoFrameNames) {
  const NoDescriptorLeak no_leak;
  for (const State state : EverySuccessorState()) {
    for (const NamedFrame& f : EveryFrame()) {
      SCOPED_TRACE(f.name + " with a descriptor in " + Name(state));
      DrivenSuccessor s;
      s.GoTo(state);
      const size_t open = OpenDescriptors().size();
      s.Deliver(f.frame, NumberedFds({9}));
      EXPECT_LE(OpenDescriptors().size(), open) << "it kept the descriptor";
      EXPECT_EQ(s.machine.state(),
                state < State::kCommitted ? State::kEnded : state);
    }
  }
}

TEST(SuccessorMachineFramesTest, WhatCannotBeUsedAbortsForItsOwnReason) {
  for (const State state : EverySuccessorState()) {
    SCOPED_TRACE(Name(state));
    DrivenSuccessor s;
    s.GoTo(state);
    s.Forget();
    s.Finish([&] {
      s.machine.OnBadFrame(v1::Abort::MISMATCH,
                           absl::FailedPreconditionError("other cookie"),
                           s.now);
    });
    if (state < State::kCommitted) {
      EXPECT_EQ(s.machine.state(), State::kEnded);
      EXPECT_EQ(s.sent.at(0).abort().reason(), v1::Abort::MISMATCH);
      EXPECT_EQ(s.sent.at(0).abort().detail(), "other cookie");
      EXPECT_TRUE(absl::IsFailedPrecondition(s.machine.why()));
    } else {
      EXPECT_EQ(s.machine.state(), state) << "what is ours stays ours";
      EXPECT_TRUE(s.sent.empty());
    }
  }
}

}  // namespace
}  // namespace handoff
