#include "tools/run_plan.h"

#include <signal.h>

#include <algorithm>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

using Action = RunPlan::Action;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kBegin = absl::UnixEpoch();

Action Start() { return {Action::kStart}; }
Action Kill(pid_t pid, int signal) { return {Action::kSignal, pid, signal}; }
Action Exit(int code) { return {Action::kExit, 0, code}; }

// A plan with one process, 10, that was started at kBegin.
RunPlan Running(bool takes_over = false) {
  RunPlan plan(takes_over);
  EXPECT_THAT(plan.Begin(), ElementsAre(Start()));
  EXPECT_THAT(plan.OnStarted(10, kBegin), IsEmpty());
  EXPECT_EQ(plan.NextWake(), absl::InfiniteFuture());
  return plan;
}

TEST(RunPlanTest, AServiceThatExitsWith0HasEnded) {
  RunPlan plan = Running();
  EXPECT_THAT(plan.OnExit(10, 0, {}, kBegin), ElementsAre(Exit(0)));
}

TEST(RunPlanTest, WhatCannotBeExecutedAtFirstEndsIt) {
  RunPlan plan(false);
  plan.Begin();
  EXPECT_THAT(plan.OnStartFailed(127, kBegin), ElementsAre(Exit(127)));
}

TEST(RunPlanTest, ACrashIsFollowedByAPauseThatDoublesUpToALimit) {
  RunPlan plan = Running();
  absl::Time now = kBegin;
  absl::Duration expected = RunPlan::kFirstPause;
  pid_t pid = 10;
  for (int i = 0; i < 12; ++i) {
    EXPECT_THAT(plan.OnExit(pid, 139, {}, now), IsEmpty());
    EXPECT_EQ(plan.NextWake(), now + expected) << "crash " << i;
    EXPECT_THAT(plan.OnTime(plan.NextWake() - absl::Milliseconds(1)),
                IsEmpty());
    now = plan.NextWake();
    EXPECT_THAT(plan.OnTime(now), ElementsAre(Start()));
    EXPECT_EQ(plan.NextWake(), absl::InfiniteFuture()) << "once";
    plan.OnStarted(++pid, now);
    expected = std::min(2 * expected, RunPlan::kLongestPause);
  }
  EXPECT_EQ(expected, RunPlan::kLongestPause);
  // Who has lived for long enough has a right to a short one.
  now += RunPlan::kHealthy;
  EXPECT_THAT(plan.OnExit(pid, 1, {}, now), IsEmpty());
  EXPECT_EQ(plan.NextWake(), now + RunPlan::kFirstPause);
}

TEST(RunPlanTest, WhatCannotBeExecutedLaterIsTriedAgain) {
  RunPlan plan = Running();
  plan.OnExit(10, 1, {}, kBegin);
  const absl::Time first = plan.NextWake();
  EXPECT_THAT(plan.OnTime(first), ElementsAre(Start()));
  EXPECT_THAT(plan.OnStartFailed(126, first), IsEmpty());
  EXPECT_EQ(plan.NextWake(), first + 2 * RunPlan::kFirstPause);
  EXPECT_THAT(plan.OnSignal(SIGTERM), ElementsAre(Exit(126)));
}

TEST(RunPlanTest, AnUpgradeEndsTheFirstOnceTheSecondHasSettled) {
  for (const int signal : {SIGUSR2, SIGHUP}) {
    RunPlan plan = Running();
    EXPECT_THAT(plan.OnSignal(signal), ElementsAre(Start()));
    plan.OnStarted(11, kBegin);
    EXPECT_EQ(plan.NextWake(), kBegin + RunPlan::kSettle);
    EXPECT_THAT(plan.OnTime(plan.NextWake()), ElementsAre(Kill(10, SIGTERM)));
    EXPECT_THAT(plan.OnExit(10, 0, {}, kBegin), IsEmpty());
    EXPECT_THAT(plan.OnExit(11, 0, {}, kBegin), ElementsAre(Exit(0)));
  }
}

TEST(RunPlanTest, AnUpgradeThatDoesNotSettleChangesNothing) {
  RunPlan plan = Running();
  plan.OnSignal(SIGUSR2);
  plan.OnStarted(11, kBegin);
  EXPECT_THAT(plan.OnExit(11, 1, {}, kBegin), IsEmpty());
  EXPECT_EQ(plan.NextWake(), absl::InfiniteFuture()) << "nobody is to end";
  EXPECT_THAT(plan.OnSignal(SIGUSR2), ElementsAre(Start())) << "nor to wait";
  EXPECT_THAT(plan.OnStartFailed(127, kBegin), IsEmpty());
  EXPECT_THAT(plan.OnExit(10, 0, {}, kBegin), ElementsAre(Exit(0)));
}

TEST(RunPlanTest, ASecondUpgradeWaitsForTheFirst) {
  RunPlan plan = Running();
  plan.OnSignal(SIGUSR2);
  plan.OnStarted(11, kBegin);
  EXPECT_THAT(plan.OnSignal(SIGUSR2), IsEmpty());
  plan.OnTime(kBegin + RunPlan::kSettle);
  EXPECT_THAT(plan.OnSignal(SIGUSR2), ElementsAre(Start()))
      << "the one that is leaving is in nobody's way";
}

TEST(RunPlanTest, ACrashWhileTheFirstIsLeavingIsOne) {
  RunPlan plan = Running();
  plan.OnSignal(SIGUSR2);
  plan.OnStarted(11, kBegin);
  plan.OnTime(kBegin + RunPlan::kSettle);
  EXPECT_THAT(plan.OnExit(11, 139, {}, kBegin + RunPlan::kSettle), IsEmpty());
  EXPECT_EQ(plan.NextWake(), kBegin + RunPlan::kSettle + RunPlan::kFirstPause);
  EXPECT_THAT(plan.OnExit(10, 0, {}, kBegin + RunPlan::kSettle), IsEmpty())
      << "it was told to end: that is not the end of the service";
}

TEST(RunPlanTest, WhoeverEndsWhileTheFirstIsLeavingWaitsForIt) {
  RunPlan plan = Running();
  plan.OnSignal(SIGUSR2);
  plan.OnStarted(11, kBegin);
  plan.OnTime(kBegin + RunPlan::kSettle);
  EXPECT_THAT(plan.OnExit(11, 0, {}, kBegin), IsEmpty());
  EXPECT_THAT(plan.OnExit(10, 15, {}, kBegin), ElementsAre(Exit(0)));
}

TEST(RunPlanTest, AServiceThatTakesOverIsLeftToItself) {
  RunPlan plan = Running(/*takes_over=*/true);
  EXPECT_THAT(plan.OnSignal(SIGUSR2), ElementsAre(Start()));
  plan.OnStarted(11, kBegin);
  EXPECT_EQ(plan.NextWake(), absl::InfiniteFuture());
  EXPECT_THAT(plan.OnSignal(SIGUSR1),
              ElementsAre(Kill(10, SIGUSR1), Kill(11, SIGUSR1)));
  EXPECT_THAT(plan.OnExit(10, 0, {}, kBegin), IsEmpty()) << "handed off";
  EXPECT_THAT(plan.OnSignal(SIGHUP), ElementsAre(Start()));
  plan.OnStarted(12, kBegin);
  EXPECT_THAT(plan.OnExit(12, 1, {}, kBegin), IsEmpty()) << "aborted";
  EXPECT_THAT(plan.OnExit(11, 139, {}, kBegin), IsEmpty());
  EXPECT_EQ(plan.NextWake(), kBegin + RunPlan::kFirstPause) << "crashed";
}

TEST(RunPlanTest, SuccessorsAreNotWithoutNumber) {
  RunPlan plan = Running(/*takes_over=*/true);
  for (size_t i = 1; i < RunPlan::kMaxProcesses; ++i) {
    EXPECT_THAT(plan.OnSignal(SIGUSR2), ElementsAre(Start()));
    plan.OnStarted(static_cast<pid_t>(10 + i), kBegin);
  }
  EXPECT_THAT(plan.OnSignal(SIGUSR2), IsEmpty());
}

TEST(RunPlanTest, WhatTheServiceLeavesBehindIsTheServiceThen) {
  RunPlan plan = Running();
  EXPECT_THAT(plan.OnExit(10, 0, {20, 21}, kBegin), IsEmpty());
  EXPECT_THAT(plan.OnSignal(SIGUSR1),
              ElementsAre(Kill(20, SIGUSR1), Kill(21, SIGUSR1)));
  EXPECT_THAT(plan.OnExit(20, 1, {}, kBegin), IsEmpty());
  EXPECT_THAT(plan.OnExit(21, 0, {}, kBegin), ElementsAre(Exit(0)));
}

TEST(RunPlanTest, WhoIsLeavingIsLeftBehindOnce) {
  RunPlan plan = Running();
  plan.OnExit(10, 0, {20}, kBegin);
  plan.OnSignal(SIGUSR2);
  plan.OnStarted(11, kBegin);
  EXPECT_THAT(plan.OnTime(kBegin + RunPlan::kSettle),
              ElementsAre(Kill(20, SIGTERM)));
  EXPECT_THAT(plan.OnExit(11, 0, {20}, kBegin), IsEmpty())
      << "it was told to end: it is not the service again";
  EXPECT_THAT(plan.OnSignal(SIGINT), ElementsAre(Kill(20, SIGINT)));
  EXPECT_THAT(plan.OnExit(20, 143, {}, kBegin), ElementsAre(Exit(0)));
}

TEST(RunPlanTest, AStopReachesTheSuccessorThatTheServiceHasStarted) {
  RunPlan plan = Running(/*takes_over=*/true);
  EXPECT_THAT(plan.OnSignal(SIGINT), ElementsAre(Kill(10, SIGINT)));
  EXPECT_THAT(plan.OnExit(10, 0, {20, 21}, kBegin),
              ElementsAre(Kill(20, SIGINT), Kill(21, SIGINT)));
  EXPECT_THAT(plan.OnExit(20, 0, {21}, kBegin), IsEmpty()) << "known";
  EXPECT_THAT(plan.OnSignal(SIGTERM), ElementsAre(Kill(21, SIGTERM)));
  EXPECT_THAT(plan.OnExit(21, 3, {22}, kBegin), ElementsAre(Kill(22, SIGTERM)));
  EXPECT_THAT(plan.OnExit(22, 4, {}, kBegin), ElementsAre(Exit(4)));
}

TEST(RunPlanTest, WhatAStoppedServiceLeavesBehindDoesNotChangeItsCode) {
  RunPlan plan = Running();
  plan.OnSignal(SIGTERM);
  EXPECT_THAT(plan.OnExit(10, 3, {20}, kBegin), ElementsAre(Kill(20, SIGTERM)));
  EXPECT_THAT(plan.OnExit(20, 143, {}, kBegin), ElementsAre(Exit(3)));
}

TEST(RunPlanTest, OnlyWhoTakesOverLivesOnInItsSuccessorAfterACrash) {
  RunPlan takes_over = Running(/*takes_over=*/true);
  EXPECT_THAT(takes_over.OnExit(10, 139, {20}, kBegin), IsEmpty());
  EXPECT_EQ(takes_over.NextWake(), absl::InfiniteFuture());
  EXPECT_THAT(takes_over.OnSignal(SIGTERM), ElementsAre(Kill(20, SIGTERM)));

  RunPlan other = Running();
  EXPECT_THAT(other.OnExit(10, 139, {20}, kBegin), IsEmpty());
  EXPECT_EQ(other.NextWake(), kBegin + RunPlan::kFirstPause);
}

TEST(RunPlanTest, ASuccessorThatCrashesWhileTheFirstDrainsIsStartedAgain) {
  RunPlan plan = Running(/*takes_over=*/true);
  plan.OnSignal(SIGUSR2);
  plan.OnStarted(11, kBegin);
  EXPECT_THAT(plan.OnExit(11, 139, {}, kBegin), IsEmpty());
  EXPECT_THAT(plan.OnExit(10, 0, {}, kBegin), IsEmpty());
  EXPECT_THAT(plan.OnTime(kBegin + RunPlan::kFirstPause), ElementsAre(Start()));
}

TEST(RunPlanTest, WhoTakesOverAndEndsUnaskedWithNobodyLeftIsStartedAgain) {
  RunPlan plan = Running(/*takes_over=*/true);
  EXPECT_THAT(plan.OnExit(10, 0, {}, kBegin), IsEmpty())
      << "the successor that it had started itself has crashed";
  EXPECT_THAT(plan.OnTime(kBegin + RunPlan::kFirstPause), ElementsAre(Start()));
  plan.OnStarted(11, kBegin);
  EXPECT_THAT(plan.OnSignal(SIGTERM), ElementsAre(Kill(11, SIGTERM)));
  EXPECT_THAT(plan.OnExit(11, 0, {}, kBegin), ElementsAre(Exit(0)));
}

TEST(RunPlanTest, SomebodysOrphanIsNothing) {
  RunPlan plan = Running();
  EXPECT_THAT(plan.OnExit(77, 1, {}, kBegin), IsEmpty());
  EXPECT_EQ(plan.NextWake(), absl::InfiniteFuture());
}

TEST(RunPlanTest, AStopIsPassedOnAndEndsWithTheServicesCode) {
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT}) {
    RunPlan plan = Running();
    EXPECT_THAT(plan.OnSignal(signal), ElementsAre(Kill(10, signal)));
    EXPECT_THAT(plan.OnSignal(SIGUSR2), IsEmpty()) << "nothing begins now";
    EXPECT_THAT(plan.OnSignal(signal), ElementsAre(Kill(10, signal)))
        << "again, for who ends a drain with it";
    EXPECT_THAT(plan.OnExit(10, 143, {}, kBegin), ElementsAre(Exit(143)));
  }
}

TEST(RunPlanTest, AStopEndsAllOfThem) {
  RunPlan plan = Running();
  plan.OnSignal(SIGUSR2);
  plan.OnStarted(11, kBegin);
  plan.OnTime(kBegin + RunPlan::kSettle);
  EXPECT_THAT(plan.OnSignal(SIGTERM),
              ElementsAre(Kill(10, SIGTERM), Kill(11, SIGTERM)));
  EXPECT_THAT(plan.OnExit(11, 3, {}, kBegin), IsEmpty());
  EXPECT_THAT(plan.OnExit(10, 0, {}, kBegin), ElementsAre(Exit(3)))
      << "that of the one that served";
}

TEST(RunPlanTest, AStopInThePauseAfterACrashEndsWithItsCode) {
  RunPlan plan = Running();
  plan.OnExit(10, 139, {}, kBegin);
  EXPECT_THAT(plan.OnSignal(SIGTERM), ElementsAre(Exit(139)));
  EXPECT_EQ(plan.NextWake(), absl::InfiniteFuture());
}

TEST(RunPlanTest, AnUpgradeInThePauseAfterACrashStartsAtOnce) {
  RunPlan plan = Running();
  plan.OnExit(10, 139, {}, kBegin);
  EXPECT_THAT(plan.OnSignal(SIGHUP), ElementsAre(Start()));
  plan.OnStarted(11, kBegin);
  EXPECT_EQ(plan.NextWake(), absl::InfiniteFuture());
}

}  // namespace
}  // namespace handoff
