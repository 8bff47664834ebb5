// Both machines together: whatever fails, at whatever point, there is one
// outcome and one owner.

#include "handoff/protocol/in_memory_handoff.h"

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"

namespace handoff {
namespace {

using Side = InMemoryHandoff::Side;

constexpr Side kOld = Side::kPredecessor;
constexpr Side kNew = Side::kSuccessor;

// Orders in which two processes may come to act: 0 the predecessor first, 1
// the successor first, others as the seed says.
constexpr unsigned kOrders = 4;

InMemoryHandoff::Pick PickBy(unsigned order) {
  if (order == 0) return [](size_t) { return size_t{0}; };
  if (order == 1) return [](size_t n) { return n - 1; };
  return [random = std::mt19937(order)](size_t n) mutable {
    return static_cast<size_t>(random() % n);
  };
}

// Runs actions until `steps` have happened or none is left without the time
// moving on. Gives how many happened.
int RunSteps(InMemoryHandoff& h, const InMemoryHandoff::Pick& pick, int steps) {
  for (int done = 0; done < steps; ++done) {
    const std::vector<InMemoryHandoff::Action> actions = h.Runnable();
    if (actions.empty()) return done;
    h.Run(actions[pick(actions.size())]);
  }
  return steps;
}

// Lets `fault` happen after each action of a handoff, in every order, until
// all is settled, and then asks `expect`.
void AfterEveryStep(
    const std::function<void(InMemoryHandoff&)>& fault,
    const std::function<void(InMemoryHandoff&, const InMemoryHandoff::Pick&)>&
        settle_and_expect,
    bool kill_stuck_successor = true) {
  for (unsigned order = 0; order < kOrders; ++order) {
    for (int steps = 0;; ++steps) {
      const NoDescriptorLeak no_leak;
      InMemoryHandoff::Options options;
      options.kill_stuck_successor = kill_stuck_successor;
      InMemoryHandoff h(options);
      const InMemoryHandoff::Pick pick = PickBy(order);
      const bool over = RunSteps(h, pick, steps) < steps;
      fault(h);
      settle_and_expect(h, pick);
      EXPECT_EQ(h.fault(), "");
      if (testing::Test::HasFailure()) {
        FAIL() << "in order " << order << " after " << steps << " actions:\n"
               << h.log();
      }
      if (over) {
        EXPECT_GT(steps, 40) << "a handoff has more actions than that";
        break;
      }
    }
  }
}

void ExpectOneOwner(InMemoryHandoff& h) {
  EXPECT_EQ(h.Owns(kOld) + h.Owns(kNew), 1)
      << "old owns: " << h.Owns(kOld) << ", new owns: " << h.Owns(kNew);
  EXPECT_NE(h.word(), Outcome::kOpen);
  EXPECT_EQ(h.Owns(kNew), h.word() == Outcome::kCommitted);
  EXPECT_EQ(h.predecessor().committed(), h.successor().committed());
  EXPECT_NE(h.predecessor().aborted(), h.predecessor().committed());
}

void SettleWithOneOwner(InMemoryHandoff& h, const InMemoryHandoff::Pick& pick) {
  h.Settle(pick);
  // Before Offer there is nothing to decide, and the word stays as it is.
  if (h.word() == Outcome::kOpen && !h.predecessor().aborted()) {
    EXPECT_TRUE(h.Owns(kOld));
    EXPECT_FALSE(h.Owns(kNew));
    return;
  }
  ExpectOneOwner(h);
}

TEST(InMemoryHandoffTest, CommitsInEveryOrder) {
  for (unsigned order = 0; order < 500; ++order) {
    const NoDescriptorLeak no_leak;
    InMemoryHandoff h;
    h.Settle(PickBy(order));
    EXPECT_EQ(h.fault(), "");
    EXPECT_EQ(h.word(), Outcome::kCommitted);
    EXPECT_TRUE(h.predecessor().committed());
    EXPECT_TRUE(h.successor().committed());
    EXPECT_TRUE(h.Owns(kNew));
    EXPECT_FALSE(h.alive(kOld)) << "the watch has ended";
    EXPECT_FALSE(h.predecessor().rolled_back());
    EXPECT_GE(h.moved(), 3u) << "sessions";
    if (HasFailure()) FAIL() << "in order " << order << ":\n" << h.log();
  }
}

TEST(InMemoryHandoffTest, ThePredecessorMayAbortAfterEveryStep) {
  AfterEveryStep([](InMemoryHandoff& h) { h.Abort(kOld); }, SettleWithOneOwner);
}

TEST(InMemoryHandoffTest, TheSuccessorMayAbortAfterEveryStep) {
  AfterEveryStep([](InMemoryHandoff& h) { h.Abort(kNew); }, SettleWithOneOwner);
}

TEST(InMemoryHandoffTest, BothMayAbortAfterEveryStep) {
  AfterEveryStep(
      [](InMemoryHandoff& h) {
        h.Abort(kNew);
        h.Abort(kOld);
      },
      SettleWithOneOwner);
}

TEST(InMemoryHandoffTest, AFrameThatCannotBeUsedMayComeAfterEveryStep) {
  for (const Side side : {kOld, kNew}) {
    AfterEveryStep([side](InMemoryHandoff& h) { h.ReceiveBadFrame(side); },
                   SettleWithOneOwner);
  }
}

TEST(InMemoryHandoffTest, TheConnectionMayBreakAfterEveryStep) {
  AfterEveryStep([](InMemoryHandoff& h) { h.CloseConnection(); },
                 SettleWithOneOwner);
}

TEST(InMemoryHandoffTest, TheSuccessorMayDieAfterEveryStep) {
  AfterEveryStep(
      [](InMemoryHandoff& h) { h.Die(kNew); },
      [](InMemoryHandoff& h, const InMemoryHandoff::Pick& pick) {
        h.Settle(pick);
        EXPECT_TRUE(h.Owns(kOld)) << "the predecessor lives and serves nobody";
        EXPECT_EQ(h.predecessor().rolled_back(), h.predecessor().committed());
      });
}

TEST(InMemoryHandoffTest, ThePredecessorMayDieAfterEveryStep) {
  AfterEveryStep([](InMemoryHandoff& h) { h.Die(kOld); },
                 [](InMemoryHandoff& h, const InMemoryHandoff::Pick& pick) {
                   h.Settle(pick);
                   EXPECT_EQ(h.Owns(kNew), h.offered())
                       << "what had arrived was not adopted";
                   EXPECT_EQ(h.word() == Outcome::kCommitted, h.offered());
                 });
}

TEST(InMemoryHandoffTest, APredecessorMayAbortAndThenDieAfterEveryStep) {
  AfterEveryStep(
      [](InMemoryHandoff& h) {
        h.Abort(kOld);
        h.Die(kOld);
      },
      [](InMemoryHandoff& h, const InMemoryHandoff::Pick& pick) {
        const bool aborted = h.word() == Outcome::kAborted;
        h.Settle(pick);
        if (aborted) {
          EXPECT_FALSE(h.Owns(kNew)) << "it may have gone on serving";
        } else {
          EXPECT_EQ(h.Owns(kNew), h.offered());
        }
      });
}

TEST(InMemoryHandoffTest, TheSuccessorMayHangAfterEveryStepAndWakeUp) {
  for (const bool kill : {true, false}) {
    AfterEveryStep([](InMemoryHandoff& h) { h.Hang(kNew); },
                   [](InMemoryHandoff& h, const InMemoryHandoff::Pick& pick) {
                     h.Settle(pick);
                     EXPECT_TRUE(h.Owns(kOld) || h.predecessor().committed())
                         << "it waits for a hung successor";
                     h.WakeUp(kNew);
                     SettleWithOneOwner(h, pick);
                   },
                   kill);
  }
}

TEST(InMemoryHandoffTest, ThePredecessorMayHangAfterEveryStepAndWakeUp) {
  AfterEveryStep([](InMemoryHandoff& h) { h.Hang(kOld); },
                 [](InMemoryHandoff& h, const InMemoryHandoff::Pick& pick) {
                   h.Settle(pick);
                   EXPECT_TRUE(h.Owns(kNew) || !h.alive(kNew))
                       << "it waits for a hung predecessor";
                   h.WakeUp(kOld);
                   SettleWithOneOwner(h, pick);
                 });
}

TEST(InMemoryHandoffTest, AHungPredecessorMayDieAfterEveryStep) {
  AfterEveryStep([](InMemoryHandoff& h) { h.Hang(kOld); },
                 [](InMemoryHandoff& h, const InMemoryHandoff::Pick& pick) {
                   h.Settle(pick);
                   const bool served = h.Owns(kNew);
                   h.Die(kOld);
                   h.Settle(pick);
                   EXPECT_EQ(h.Owns(kNew), served);
                 });
}

TEST(InMemoryHandoffTest, ASuccessorThatStopsDeliberatelyIsNotRolledBack) {
  AfterEveryStep([](InMemoryHandoff& h) { h.RetireAndExit(); },
                 [](InMemoryHandoff& h, const InMemoryHandoff::Pick& pick) {
                   const bool committed = h.word() == Outcome::kCommitted;
                   h.Settle(pick);
                   EXPECT_FALSE(h.predecessor().rolled_back());
                   EXPECT_EQ(h.Owns(kOld), !committed);
                   EXPECT_EQ(h.predecessor().committed(), committed);
                 });
}

}  // namespace
}  // namespace handoff
