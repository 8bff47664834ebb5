// The successor crashes within the watch, and the predecessor takes back the
// sessions that nobody has touched.

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "handoff/query.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

class TakeBackTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {
        {"handoff", folder_ / "h"}, {"watch", "60s"}, {"take_back", "1"}};
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  // Of the handoff that the process at the path has recorded last.
  v1::LedgerHandoff LastHandoff() const {
    const auto reply =
        Ask(folder_ / "h", v1::Query::LEDGER, absl::Seconds(30));
    if (!reply.ok() || reply->handoffs().empty()) return {};
    return *reply->handoffs().rbegin();
  }

  ShortFolder folder_;
};

std::vector<std::unique_ptr<ToyClient>> Connect(int port, int count) {
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<ToyClient>(port));
    EXPECT_EQ(clients.back()->Ask("ballast 10000"), "ok");
    clients.back()->Send("echo ha");
  }
  return clients;
}

TEST_F(TakeBackTest, WhatNobodyTouchedGoesOnAndTheRestIsNamedLost) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  const auto clients = Connect(first.port(), 300);
  const std::string weight = "10000 ";
  const auto before = DescriptorTable(first.pid());

  ToyProcess second(With({{"groups", "3"}}));
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  for (size_t i = 0; i < clients.size(); i += 3) {
    clients[i]->Send("lf\n");
    ASSERT_EQ(clients[i]->Line(), "echo half");
  }
  // The kernel has it, and nobody has read it: that touches nothing.
  clients[1]->Send("lf\n");
  ASSERT_EQ(clients[1]->Line(), "echo half") << "the successor serves";
  second.Signal(SIGSTOP);
  siginfo_t stopped;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(second.pid()), &stopped,
                     WSTOPPED),
            0);
  clients[2]->Send("lf\n");
  second.Signal(SIGKILL);

  const std::string rolled = first.WaitFor("event rolled-back");
  EXPECT_TRUE(absl::StrContains(rolled, "199 sessions taken back, 101 lost"))
      << first.Said();
  EXPECT_EQ(clients[2]->Line(), "echo half");
  for (size_t i = 0; i < clients.size(); ++i) {
    if (i % 3 == 0 || i == 1) {
      const std::string end = clients[i]->Line();
      ASSERT_TRUE(end == "<end>" || end == "<reset>") << i << ": " << end;
      continue;
    }
    if (i != 2) {
      clients[i]->Send("lf\n");
      ASSERT_EQ(clients[i]->Line(), "echo half") << i;
    }
    ASSERT_TRUE(absl::StartsWith(clients[i]->Ask("weigh"), weight)) << i;
    ASSERT_EQ(clients[i]->Ask("who"), absl::StrCat(first.pid(), " 1 0 4"));
  }
  auto after = before;
  after["socket"] -= 101;
  EXPECT_EQ(SettledTable(first.pid(), after), after);
  const v1::LedgerHandoff handoff = LastHandoff();
  EXPECT_EQ(handoff.lost(), 101u) << handoff.ShortDebugString();
  EXPECT_EQ(handoff.moved(), 0u);
  const auto named = std::count_if(
      handoff.entries().begin(), handoff.entries().end(),
      [](const v1::LedgerEntry& entry) {
        return entry.outcome() == v1::LedgerEntry::LOST && entry.session() != 0;
      });
  EXPECT_EQ(named, 101);

  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  for (size_t i = 0; i < clients.size(); ++i) {
    if (i % 3 == 0 || i == 1) continue;
    ASSERT_EQ(clients[i]->Ask("who"), absl::StrCat(third.pid(), " 3 1 5"));
  }
}

TEST_F(TakeBackTest, ThoseOfAServiceThatDoesNotAskAreLost) {
  ToyProcess first(With({{"take_back", "0"}}));
  ASSERT_TRUE(first.WaitReady());
  const auto clients = Connect(first.port(), 10);
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady());
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  second.Signal(SIGKILL);
  EXPECT_TRUE(absl::StrContains(first.WaitFor("event rolled-back"),
                                "0 sessions taken back, 10 lost"))
      << first.Said();
  EXPECT_EQ(LastHandoff().lost(), 10u);
}

TEST_F(TakeBackTest, AnEndInTheSuccessorReachesTheClientAtOnceAndIsFinal) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  const auto clients = Connect(first.port(), 3);
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady());
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  EXPECT_EQ(clients[0]->Ask(""), "echo ha");
  EXPECT_EQ(clients[0]->Ask("close"), "<end>");
  EXPECT_EQ(clients[1]->Ask(""), "echo ha");
  EXPECT_EQ(clients[1]->Ask("reset"), "<reset>");
  second.Signal(SIGKILL);
  EXPECT_TRUE(absl::StrContains(first.WaitFor("event rolled-back"),
                                "1 sessions taken back, 2 lost"))
      << first.Said();
}

TEST_F(TakeBackTest, TheEndOfTheWatchClosesTheCopies) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  const auto clients = Connect(first.port(), 10);
  // For its sake the first process stays when the watch has ended.
  ToyClient kept(first.port());
  ASSERT_EQ(kept.Ask("keep"), "ok");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady());
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  second.Signal(SIGTERM);
  EXPECT_EQ(second.WaitExit(), 3) << second.Said();
  EXPECT_NE(first.WaitFor("event watch-ended"), "") << first.Said();
  for (const auto& client : clients) {
    const std::string end = client->Line();
    EXPECT_TRUE(end == "<end>" || end == "<reset>") << end;
  }
  EXPECT_EQ(Who(kept)[0], absl::StrCat(first.pid()));
  kept.Send("close\n");
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
}

}  // namespace
}  // namespace handoff::toy
