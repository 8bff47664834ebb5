// Who goes on when a process ends: what a successor adopts, how soon somebody
// accepts again, and in three generations who rolls back and who must not.

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/query.h"
#include "tests/process/toy_process.h"
#include "tests/process/traffic.h"

namespace handoff::toy {
namespace {

class GenerationsTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"}, {"watch", "60s"}};
    for (const char* name :
         {"hello", "frame", "staging", "quiesce", "frozen"}) {
      settings[name] = absl::FormatDuration(kPatience);
    }
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  std::unique_ptr<ToyProcess> Start(Settings more = {}) const {
    return std::make_unique<ToyProcess>(With(std::move(more)));
  }
  std::set<uint64_t> LostByLedger() const {
    std::set<uint64_t> lost;
    const auto reply = Ask(folder_ / "h", v1::Query::LEDGER, kPatience);
    EXPECT_TRUE(reply.ok()) << reply.status();
    if (!reply.ok()) return lost;
    for (const v1::LedgerHandoff& handoff : reply->handoffs()) {
      for (const v1::LedgerEntry& entry : handoff.entries()) {
        if (entry.outcome() == v1::LedgerEntry::LOST && entry.session() != 0) {
          lost.insert(entry.session());
        }
      }
    }
    return lost;
  }

  // Each of some fresh connections reaches this process and no other.
  static void OnlyServes(ToyProcess& process, int port) {
    for (int i = 0; i < 6; ++i) {
      ToyClient probe(port);
      ASSERT_EQ(Who(probe)[0], absl::StrCat(process.pid())) << process.Said();
    }
  }
  static void NeverRolledBack(ToyProcess& process) {
    process.Take();
    EXPECT_FALSE(process.Has("event rolled-back")) << process.Said();
  }

  ShortFolder folder_;
};

uint64_t SessionOf(ToyClient& client) {
  const std::vector<std::string> words =
      absl::StrSplit(client.Ask("count"), ' ');
  uint64_t id = 0;
  EXPECT_TRUE(absl::SimpleAtoi(words[0], &id)) << words[0];
  return id;
}

// How long it takes until `process` answers a fresh connection.
absl::Duration UntilAnswered(ToyProcess& process, int port) {
  const absl::Time from = absl::Now();
  while (absl::Now() < from + kPatience) {
    // One that the dead process had accepted is reset.
    ToyClient probe(port);
    EXPECT_TRUE(probe.connected()) << "a connection was refused";
    if (Who(probe)[0] == absl::StrCat(process.pid())) break;
  }
  return absl::Now() - from;
}

absl::Duration Median(std::vector<absl::Duration> durations) {
  std::sort(durations.begin(), durations.end());
  return durations[durations.size() / 2];
}

TEST_F(GenerationsTest, KilledBeforeFinalTheUntouchedGoOnAndTheRestIsNamed) {
  std::vector<absl::Duration> accepts;
  for (int run = 0; run < 3; ++run) {
    auto first = Start();
    ASSERT_TRUE(first->WaitReady()) << first->Said();
    const int port = first->port();
    std::vector<std::unique_ptr<ToyClient>> clients;
    std::vector<uint64_t> ids;
    for (int i = 0; i < 20; ++i) {
      clients.push_back(std::make_unique<ToyClient>(port));
      ids.push_back(SessionOf(*clients.back()));
    }
    auto second = Start({{"fault", "state staged:stop"}});
    ASSERT_NE(second->WaitFor("fault "), "") << second->Said();
    siginfo_t stopped;
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(second->pid()), &stopped,
                       WSTOPPED | WNOWAIT),
              0);
    ASSERT_NE(first->WaitFor("event pre-copied"), "") << first->Said();
    // Touched since the first round, by a whole line or by half of one; what
    // nobody has read touches nothing.
    std::set<uint64_t> touched;
    for (size_t i = 0; i < clients.size(); i += 2) {
      ASSERT_EQ(clients[i]->Ask("echo a"), "echo a");
      touched.insert(ids[i]);
    }
    first->Signal(SIGSTOP);
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(first->pid()), &stopped,
                       WSTOPPED | WNOWAIT),
              0);
    for (size_t i = 1; i < clients.size(); i += 2) clients[i]->Send("echo ");
    first->Signal(SIGKILL);
    second->Signal(SIGCONT);
    accepts.push_back(UntilAnswered(*second, port));
    ASSERT_TRUE(second->WaitReady()) << second->Said();
    for (size_t i = 0; i < clients.size(); ++i) {
      if (touched.count(ids[i]) != 0) {
        const std::string end = clients[i]->Line();
        EXPECT_TRUE(end == "<end>" || end == "<reset>") << end;
        continue;
      }
      clients[i]->Send("b\n");
      ASSERT_EQ(clients[i]->Line(), "echo b") << second->Said();
      EXPECT_EQ(Who(*clients[i])[0], absl::StrCat(second->pid()));
    }
    EXPECT_EQ(LostByLedger(), touched);
    OnlyServes(*second, port);
    auto third = Start();
    ASSERT_TRUE(third->WaitReady()) << third->Said();
    EXPECT_EQ(Who(*clients[1])[0], absl::StrCat(third->pid()));
  }
  ::printf("adopted: the successor answers after %s\n",
           absl::FormatDuration(Median(accepts)).c_str());
  EXPECT_LT(Median(accepts), absl::Seconds(1));
}

TEST_F(GenerationsTest, KilledAfterFinalEverySessionGoesOn) {
  auto first = Start({{"fault", "sent final:kill"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Traffic traffic(first->port());
  ASSERT_TRUE(traffic.WaitUnderWay());
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(first->WaitExit(), -SIGKILL) << first->Said();
  EXPECT_TRUE(traffic.WaitProgress());
  EXPECT_TRUE(traffic.Finish()) << traffic.GetReport().standing;
  EXPECT_TRUE(traffic.GetReport().lost.empty());
  EXPECT_EQ(traffic.GetReport().refused, 0);
  EXPECT_EQ(LostByLedger(), std::set<uint64_t>());
}

TEST_F(GenerationsTest, AcceptsAgainSoonAfterACrashWithinTheWatch) {
  std::vector<absl::Duration> accepts;
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  const int port = first->port();
  Traffic traffic(port);
  ASSERT_TRUE(traffic.WaitUnderWay());
  for (int run = 0; run < 7; ++run) {
    auto second = Start();
    ASSERT_TRUE(second->WaitReady()) << second->Said();
    ASSERT_NE(first->WaitFor("event released"), "") << first->Said();
    second->Signal(SIGKILL);
    accepts.push_back(UntilAnswered(*first, port));
    ASSERT_NE(first->WaitFor("event rolled-back"), "") << first->Said();
    OnlyServes(*first, port);
  }
  ASSERT_TRUE(traffic.PauseShort());
  EXPECT_EQ(traffic.GetReport().refused, 0);
  ::printf("rolled back: the predecessor answers after %s\n",
           absl::FormatDuration(Median(accepts)).c_str());
#if !defined(__SANITIZE_ADDRESS__) && !defined(_GLIBCXX_TSAN)
  EXPECT_LT(Median(accepts), absl::Milliseconds(100));
#endif
}

TEST_F(GenerationsTest, TheFirstIsRetiredBeforeTheThirdIsOfferedAnything) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  // Stopped at the first thing that it does for the third.
  auto second = Start({{"fault", "sent offer:kill"}});
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  ASSERT_NE(first->WaitFor("event released"), "") << first->Said();
  auto third =
      Start({{"listen", absl::StrCat("tcp:127.0.0.1:", first->port())}});
  EXPECT_EQ(second->WaitExit(), -SIGKILL);
  EXPECT_EQ(first->WaitExit(), 0) << first->Said();
  NeverRolledBack(*first);
  // Nothing had arrived: nobody serves, and the third starts fresh. Where it
  // has met the first, which was about to exit, it is to try again.
  for (int attempt = 0; attempt < 10 && third->WaitFor("ready ").empty();
       ++attempt) {
    // Or it was there already, and the first still had the port.
    ASSERT_TRUE(third->Has("failed ABORTED: the predecessor closed the "
                           "connection before its offer") ||
                third->Has("failed ALREADY_EXISTS"))
        << third->Said();
    third = Start({{"listen", absl::StrCat("tcp:127.0.0.1:", first->port())}});
  }
  ASSERT_TRUE(third->Has("ready ")) << third->Said();
  OnlyServes(*third, first->port());
}

TEST_F(GenerationsTest, TheSecondRollsBackWhenTheThirdCrashes) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(first->WaitExit(), 0) << first->Said();
  ASSERT_NE(second->WaitFor("event released"), "") << second->Said();
  third->Signal(SIGKILL);
  ASSERT_NE(second->WaitFor("event rolled-back"), "") << second->Said();
  OnlyServes(*second, first->port());
  NeverRolledBack(*first);
  // It is nobody's successor any more, and stops as one that serves.
  second->Signal(SIGTERM);
  EXPECT_EQ(second->WaitExit(), 3) << second->Said();
}

TEST_F(GenerationsTest, TheThirdGoesOnWhenTheSecondCrashesOrStops) {
  for (const int signal : {SIGKILL, SIGTERM}) {
    auto first = Start();
    ASSERT_TRUE(first->WaitReady()) << first->Said();
    const int port = first->port();
    auto second = Start();
    ASSERT_TRUE(second->WaitReady()) << second->Said();
    auto third = Start();
    ASSERT_TRUE(third->WaitReady()) << third->Said();
    ASSERT_NE(second->WaitFor("event released"), "") << second->Said();
    second->Signal(signal);
    EXPECT_EQ(second->WaitExit(), signal == SIGKILL ? -SIGKILL : 3)
        << second->Said();
    EXPECT_EQ(first->WaitExit(), 0) << first->Said();
    NeverRolledBack(*first);
    NeverRolledBack(*second);
    OnlyServes(*third, port);
    auto fourth = Start();
    ASSERT_TRUE(fourth->WaitReady()) << fourth->Said();
    OnlyServes(*fourth, port);
  }
}

TEST_F(GenerationsTest, NobodyRollsBackWhenTheSecondStopsDeliberately) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  second->Signal(SIGTERM);
  EXPECT_EQ(second->WaitExit(), 3) << second->Said();
  EXPECT_EQ(first->WaitExit(), 0) << first->Said();
  NeverRolledBack(*first);
  ToyClient nobody(first->port());
  EXPECT_FALSE(nobody.connected());
}

TEST_F(GenerationsTest, NobodyMissesAFirstThatHasGoneAlready) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  const int port = first->port();
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  ASSERT_NE(first->WaitFor("event released"), "") << first->Said();
  first->Signal(SIGKILL);
  EXPECT_EQ(first->WaitExit(), -SIGKILL);
  OnlyServes(*second, port);
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  OnlyServes(*third, port);
  ASSERT_NE(second->WaitFor("event released"), "") << second->Said();
  third->Signal(SIGKILL);
  ASSERT_NE(second->WaitFor("event rolled-back"), "") << second->Said();
  OnlyServes(*second, port);
}

// The connection between the two is lost, both live, and the second hands over
// and exits: that is no crash, though no Retire could reach the first.
TEST_F(GenerationsTest, AFirstThatNoFrameReachesDoesNotRollBack) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  const int port = first->port();
  auto second = Start({{"fault", "state released:close"}, {"watch", "1ms"}});
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  ASSERT_TRUE(second->Has("fault ") || !second->WaitFor("fault ").empty())
      << second->Said();
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(second->WaitExit(), 0) << second->Said();
  OnlyServes(*third, port);
  NeverRolledBack(*first);
  EXPECT_EQ(first->WaitExit(), 0) << first->Said();
  NeverRolledBack(*first);
}

}  // namespace
}  // namespace handoff::toy
