// What becomes of sessions that stay with the predecessor, and how whoever
// serves by then learns of it.

#include <signal.h>
#include <sys/wait.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/query.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

class DrainTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"},
                         {"watch", "1ms"},
                         {"frame", "30s"},
                         {"staging", "30s"},
                         {"quiesce", "30s"},
                         {"frozen", "30s"},
                         {"drain", "60s"}};
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  // Of whoever serves; the oldest handoff first.
  v1::Ledger Ledger() const {
    v1::Ledger ledger;
    const auto reply = Ask(folder_ / "h", v1::Query::LEDGER, absl::Seconds(30));
    EXPECT_TRUE(reply.ok()) << reply.status();
    if (reply.ok()) *ledger.mutable_handoffs() = reply->handoffs();
    return ledger;
  }
  // "OUTCOME REASON" of each session that did not move in the first handoff of
  // all.
  std::vector<std::string> Sessions() const {
    std::vector<std::string> sessions;
    const v1::Ledger ledger = Ledger();
    if (ledger.handoffs().empty()) return {"nothing"};
    for (const v1::LedgerEntry& entry : ledger.handoffs(0).entries()) {
      if (entry.category() != "session" ||
          entry.outcome() == v1::LedgerEntry::MOVED) {
        continue;
      }
      sessions.push_back(absl::StrCat(
          v1::LedgerEntry::Outcome_Name(entry.outcome()), " ", entry.reason()));
    }
    return sessions;
  }

  using Strings = std::vector<std::string>;

  ShortFolder folder_;
};

TEST_F(DrainTest, AKeptSessionThatEndsIsDrainedInTheSuccessorsLedger) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(Sessions(), Strings{"KEPT asked to stay"});
  ASSERT_NE(first.WaitFor("event watch-ended"), "") << first.Said();
  EXPECT_EQ(Who(kept)[0], absl::StrCat(first.pid()));
  kept.Send("close\n");
  EXPECT_EQ(kept.Line(), "<end>");
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_NE(first.WaitFor("event drained of the sessions that were kept 1 have "
                          "ended, 0 are cut off"),
            "")
      << first.Said();
  EXPECT_EQ(Sessions(), Strings{"DRAINED asked to stay; ended"});
  const v1::LedgerHandoff handoff = Ledger().handoffs(0);
  EXPECT_EQ(handoff.kept(), 0u);
  EXPECT_EQ(handoff.drained(), 1u);
}

TEST_F(DrainTest, WhatEndsWithinTheWatchIsDrainedToo) {
  ToyProcess first(With({{"watch", "60s"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  kept.Send("close\n");
  EXPECT_EQ(kept.Line(), "<end>");
  // Which ends the watch.
  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_EQ(second.WaitExit(), 0) << second.Said();
  EXPECT_EQ(Sessions(), Strings{"DRAINED asked to stay; ended"});
}

TEST_F(DrainTest, AtTheDeadlineTheRestIsCutOffAndNamedSo) {
  ToyProcess first(With({{"drain", "50ms"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_EQ(kept.Line(), "<end>");
  EXPECT_EQ(Sessions(),
            Strings{"DRAINED asked to stay; cut off at the end of the process"});
}

TEST_F(DrainTest, SessionsThatTheSuccessorRefusedAreDrainedAsKeptOnes) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(With({{"refuse", "all"}}));
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  client.Send("close\n");
  EXPECT_EQ(client.Line(), "<end>");
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_EQ(Sessions(), Strings{"DRAINED told to refuse; ended"});
  EXPECT_EQ(Ledger().handoffs(0).refused(), 0u);
}

TEST_F(DrainTest, WhoeverServesByThenIsTold) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  EXPECT_EQ(second.WaitExit(), 0) << second.Said();
  EXPECT_EQ(Sessions(), Strings{"KEPT asked to stay"});
  kept.Send("close\n");
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_EQ(Sessions(), Strings{"DRAINED asked to stay; ended"});
}

// The third has its copy of the ledger already.
TEST_F(DrainTest, WhatIsToldDuringAHandoffIsPassedOn) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  ToyClient moves(first.port());
  ASSERT_EQ(moves.Ask("echo a"), "echo a");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event watch-ended"), "") << first.Said();
  ToyProcess third(With({{"fault", "hook restore:stop"}}));
  ASSERT_NE(third.WaitFor("fault "), "") << third.Said();
  siginfo_t info = {};
  ::waitid(P_PID, static_cast<id_t>(third.pid()), &info,
           WSTOPPED | WEXITED | WNOWAIT);
  kept.Send("close\n");
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_EQ(Sessions(), Strings{"DRAINED asked to stay; ended"})
      << "the second was not told";
  third.Signal(SIGCONT);
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  EXPECT_EQ(second.WaitExit(), 0) << second.Said();
  EXPECT_EQ(Sessions(), Strings{"DRAINED asked to stay; ended"})
      << "the third was not told: " << second.Said();
  EXPECT_EQ(Who(moves)[0], absl::StrCat(third.pid()));
}

TEST_F(DrainTest, AProcessThatIsStoppedWithinTheWatchTellsWhatItHadKept) {
  ToyProcess first(With({{"watch", "60s"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  first.Signal(SIGTERM);
  EXPECT_EQ(first.WaitExit(), 3) << first.Said();
  EXPECT_EQ(Sessions(),
            Strings{"DRAINED asked to stay; cut off at the end of the process"});
}

TEST_F(DrainTest, NobodyWhoCanBeToldIsNoReasonToStay) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  {
    ToyProcess second(With());
    ASSERT_TRUE(second.WaitReady()) << second.Said();
    ASSERT_NE(first.WaitFor("event watch-ended"), "") << first.Said();
  }  // killed
  kept.Send("close\n");
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_NE(first.WaitFor("event note nobody was told what became of kept "
                          "sessions: "),
            "")
      << first.Said();
}

TEST_F(DrainTest, TheDeadlineCountsFromTheEndOfTheWatch) {
  ToyProcess first(With({{"watch", "700ms"}, {"drain", "700ms"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  const absl::Time before_the_commit = absl::Now();
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_GE(absl::Now() - before_the_commit, absl::Milliseconds(1400))
      << "the watch was taken off the drain";
}

TEST_F(DrainTest, AGroupThatDrainsEndsWhatItKeptWhenTheWatchIsOver) {
  ToyProcess first(With({{"farewell", "1"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  ToyProcess second(With({{"farewell", "1"}}));
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(kept.Line(), "bye");
  EXPECT_EQ(kept.Line(), "<end>");
  EXPECT_NE(first.WaitFor("event watch-ended"), "") << first.Said();
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
}

TEST_F(DrainTest, NoGroupDrainsAfterARollBack) {
  ToyProcess first(With({{"farewell", "1"}, {"watch", "60s"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  {
    ToyProcess second(With());
    ASSERT_TRUE(second.WaitReady()) << second.Said();
    ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  }  // killed
  ASSERT_NE(first.WaitFor("event rolled-back"), "") << first.Said();
  EXPECT_EQ(kept.Ask("echo a"), "echo a");
  EXPECT_EQ(Sessions(), Strings{"KEPT asked to stay"});
  first.Signal(SIGTERM);
  EXPECT_EQ(first.WaitExit(), 3) << first.Said();
}

}  // namespace
}  // namespace handoff::toy
