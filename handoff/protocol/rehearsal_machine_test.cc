// What the two machines do, and never do, in a rehearsal.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/protocol/driven_predecessor.h"
#include "handoff/protocol/driven_successor.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

using Names = std::vector<std::string>;

v1::Frame RehearsalHello() {
  v1::Frame frame = HelloFrame();
  frame.mutable_hello()->set_rehearsal(true);
  return frame;
}

// A predecessor that has sent everything, in a rehearsal.
class RehearsedPredecessor : public DrivenPredecessor {
 public:
  RehearsedPredecessor() {
    Deliver(RehearsalHello());
    Finish([&] { machine.OnRoundDone(now); });
    EXPECT_EQ(machine.state(), State::kAwaitReady);
    Forget();
  }
};

class RehearsingSuccessor : public DrivenSuccessor {
 public:
  explicit RehearsingSuccessor(State state) : DrivenSuccessor(Config()) {
    GoTo(state);
  }

 private:
  static SuccessorMachine::Config Config() {
    SuccessorMachine::Config config = DefaultConfig();
    config.hello.set_rehearsal(true);
    return config;
  }
};

TEST(RehearsalMachineTest, ThePredecessorSendsEverythingAsEver) {
  DrivenPredecessor p;
  p.Deliver(RehearsalHello());
  p.Finish([&] { p.machine.OnRoundDone(p.now); });
  EXPECT_EQ(p.SentNames(), Names({"offer", "pre-copied"}));
  EXPECT_EQ(p.commands, std::vector<DrivenPredecessor::Command>(
                            {DrivenPredecessor::Command::kRunRound}));
}

TEST(RehearsalMachineTest, ReadyInARehearsalAbortsAndFreezesNothing) {
  RehearsedPredecessor p;
  v1::Frame ready;
  ready.mutable_ready();
  p.Deliver(ready);
  EXPECT_EQ(p.machine.state(), PredecessorMachine::State::kAborting);
  EXPECT_EQ(p.SentNames(), Names({"abort"}));
  EXPECT_EQ(p.sent[0].abort().reason(), v1::Abort::MALFORMED);
  EXPECT_EQ(p.word.Load(), Outcome::kAborted);
  EXPECT_TRUE(p.commands.empty()) << "nothing to thaw, and no second round";
}

TEST(RehearsalMachineTest, HowARehearsalEndsSaysThatItWasOne) {
  RehearsedPredecessor p;
  v1::Frame abort;
  abort.mutable_abort()->set_reason(v1::Abort::REHEARSAL);
  abort.mutable_abort()->set_detail("everything would move");
  p.Deliver(abort);
  EXPECT_TRUE(p.machine.aborted());
  EXPECT_EQ(p.machine.why().message(),
            "a rehearsal: the successor aborted: everything would move "
            "(REHEARSAL)");
  EXPECT_TRUE(p.commands.empty());
}

TEST(RehearsalMachineTest, AWordThatSaysCommittedReleasesNothing) {
  for (const bool retire : {false, true}) {
    RehearsedPredecessor p;
    p.word.Decide(Outcome::kCommitted);
    v1::Frame frame;
    retire ? (void)frame.mutable_retire() : (void)frame.mutable_abort();
    p.Deliver(frame);
    EXPECT_TRUE(p.machine.aborted());
    EXPECT_FALSE(p.machine.committed());
    EXPECT_TRUE(p.commands.empty()) << "the sessions were live all the time";
  }
}

TEST(RehearsalMachineTest, TheSuccessorAbortsWhereItWouldAcknowledge) {
  RehearsingSuccessor s(SuccessorMachine::State::kStaged);
  EXPECT_TRUE(s.sent[0].hello().rehearsal());
  s.Forget();
  s.Finish([&] { s.machine.Ready({}, s.now); });
  EXPECT_EQ(s.SentNames(), Names({"abort"}));
  EXPECT_EQ(s.sent[0].abort().reason(), v1::Abort::REHEARSAL);
  EXPECT_EQ(s.machine.state(), SuccessorMachine::State::kEnded);
  EXPECT_EQ(s.word.Load(), Outcome::kAborted);
}

TEST(RehearsalMachineTest, ADeadPredecessorIsNotAdopted) {
  for (const SuccessorMachine::State state :
       {SuccessorMachine::State::kStaging, SuccessorMachine::State::kStaged}) {
    SCOPED_TRACE(Name(state));
    RehearsingSuccessor s(state);
    s.Forget();
    s.Finish([&] { s.machine.OnPeerDead(s.now); });
    EXPECT_EQ(s.machine.state(), SuccessorMachine::State::kEnded);
    EXPECT_FALSE(s.machine.committed());
    EXPECT_TRUE(s.commands.empty());
    EXPECT_NE(s.word.Load(), Outcome::kCommitted);
    EXPECT_TRUE(absl::IsAborted(s.machine.why())) << s.machine.why();
  }
}

}  // namespace
}  // namespace handoff
