// Handoffs between real processes, over real connections: what moves.

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

class HandoffTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"}, {"watch", "1ms"}};
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }

  ShortFolder folder_;
};

TEST_F(HandoffTest, ALiveConnectionGoesOnInTheSuccessor) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient client(first.port());
  EXPECT_EQ(client.Ask("echo a"), "echo a");
  client.Send("echo ha");  // half a line

  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(second.generation(), 2u);
  EXPECT_EQ(second.port(), first.port());
  client.Send("lf\n");
  EXPECT_EQ(client.Line(), "echo half");
  EXPECT_EQ(client.Ask("who"), absl::StrCat(second.pid(), " 2 1 3"));
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();

  ToyClient later(first.port());
  EXPECT_EQ(later.Ask("who"), absl::StrCat(second.pid(), " 2 0 1"));
  EXPECT_EQ(later.Ask("total"), "5");
}

TEST_F(HandoffTest, TenGenerationsInARow) {
  auto current = std::make_unique<ToyProcess>(With());
  ASSERT_TRUE(current->WaitReady()) << current->Said();
  ToyClient client(current->port());
  EXPECT_EQ(client.Ask("echo x"), "echo x");
  std::map<std::string, int> table;
  for (int generation = 2; generation <= 10; ++generation) {
    auto next = std::make_unique<ToyProcess>(With());
    ASSERT_TRUE(next->WaitReady()) << next->Said();
    EXPECT_EQ(client.Ask("who"),
              absl::StrCat(next->pid(), " ", generation, " ", generation - 1,
                           " ", generation));
    EXPECT_EQ(current->WaitExit(), 0) << current->Said();
    current = std::move(next);
    ToyClient probe(current->port());  // an answer: the loops have settled
    EXPECT_EQ(probe.Ask("echo y"), "echo y");
  }
}

TEST_F(HandoffTest, DescriptorTablesStayAsTheyWere) {
  const Settings settings = With({{"watch", "60s"}});
  auto current = std::make_unique<ToyProcess>(settings);
  ASSERT_TRUE(current->WaitReady());
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<ToyClient>(current->port()));
    ASSERT_EQ(clients.back()->Ask("ballast 100000"), "ok");
  }
  const std::string weight = clients.back()->Ask("weigh");
  std::vector<std::map<std::string, int>> tables;
  std::vector<std::unique_ptr<ToyProcess>> all;
  for (int generation = 2; generation <= 4; ++generation) {
    auto next = std::make_unique<ToyProcess>(settings);
    ASSERT_TRUE(next->WaitReady()) << next->Said();
    // The copies are closed before Released is sent.
    ASSERT_NE(current->WaitFor("event released"), "") << current->Said();
    for (auto& client : clients) {
      ASSERT_EQ(Who(*client)[1], absl::StrCat(generation));
      ASSERT_EQ(client->Ask("weigh"), weight);
    }
    // The one before has been retired by now, and only a pidfd of a process
    // and a connection to it come and go.
    all.push_back(std::move(current));
    current = std::move(next);
    ToyProcess probe(With({{"lowest", "9"}, {"highest", "9"}}));
    EXPECT_NE(probe.WaitFor("failed FAILED_PRECONDITION"), "") << probe.Said();
    EXPECT_EQ(probe.WaitExit(), 1);
    ASSERT_NE(current->WaitFor("event refused"), "") << current->Said();
    tables.push_back(tables.empty()
                         ? DescriptorTable(current->pid())
                         : SettledTable(current->pid(), tables.back()));
  }
  EXPECT_EQ(tables[1], tables[2]) << "a generation has another table than the "
                                     "one before, with the same clients";
}

TEST_F(HandoffTest, WhatHasMovedIsClosedBeforeReleased) {
  ToyProcess first(With({{"watch", "60s"}}));
  ASSERT_TRUE(first.WaitReady());
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<ToyClient>(first.port()));
    ASSERT_EQ(clients.back()->Ask("echo a"), "echo a");
  }
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  EXPECT_LT(DescriptorTable(first.pid())["socket"], 50)
      << "the predecessor still has copies of what moved";
}

TEST_F(HandoffTest, FiveThousandLiveSessions) {
  constexpr size_t count = 5000;
  ASSERT_GE(DescriptorLimit(), 2 * count) << "raise the hard limit (ulimit -Hn)";
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (size_t i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<ToyClient>(first.port()));
    ASSERT_TRUE(clients.back()->connected());
    clients.back()->Send(absl::StrCat("echo ", i, "\necho half"));
  }
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(clients[i]->Line(), absl::StrCat("echo ", i));
  }
  ToyProcess second(With({{"groups", "3"}}));
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  for (size_t i = 0; i < count; ++i) clients[i]->Send(absl::StrCat(i, "\n"));
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(clients[i]->Line(), absl::StrCat("echo half", i));
  }
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_EQ(clients[0]->Ask("total"), absl::StrCat(2 * count + 1));
}

TEST_F(HandoffTest, GroupsTwoToThreeToOne) {
  std::vector<std::unique_ptr<ToyClient>> clients;
  std::vector<std::unique_ptr<ToyProcess>> processes;
  for (const char* groups : {"2", "3", "1"}) {
    processes.push_back(
        std::make_unique<ToyProcess>(With({{"groups", groups}})));
    ASSERT_TRUE(processes.back()->WaitReady()) << processes.back()->Said();
    for (int i = 0; i < 20; ++i) {
      clients.push_back(
          std::make_unique<ToyClient>(processes.back()->port()));
    }
    for (auto& client : clients) {
      EXPECT_EQ(Who(*client)[0], absl::StrCat(processes.back()->pid()));
      EXPECT_EQ(client->Ask("post"), "posted");
    }
  }
}

TEST_F(HandoffTest, AnOlderStateVersionIsWrittenForAnOlderSuccessor) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  EXPECT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess older(With({{"highest", "1"}}));
  ASSERT_TRUE(older.WaitReady()) << older.Said();
  EXPECT_EQ(client.Ask("who"), absl::StrCat(older.pid(), " 2 1 2"));
  ToyProcess newer(With());
  ASSERT_TRUE(newer.WaitReady()) << newer.Said();
  EXPECT_EQ(client.Ask("who"), absl::StrCat(newer.pid(), " 3 2 3"));
}

TEST_F(HandoffTest, NoCommonStateVersionIsRefusedBeforeAnythingMoves) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  ToyProcess alien(With({{"lowest", "3"}, {"highest", "4"}}));
  EXPECT_NE(alien.WaitFor("failed FAILED_PRECONDITION: refused: no common"), "")
      << alien.Said();
  EXPECT_EQ(alien.WaitExit(), 1);
  EXPECT_EQ(Who(client)[0], absl::StrCat(first.pid()));
}

TEST_F(HandoffTest, LargeStateTravelsInMemory) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  EXPECT_EQ(client.Ask("ballast 5000000"), "ok");
  const std::string weight = client.Ask("weigh");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(client.Ask("weigh"), weight);
  EXPECT_EQ(Who(client)[0], absl::StrCat(second.pid()));
}

TEST_F(HandoffTest, AKeptSessionStaysAndTheOldProcessWaitsForIt) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient kept(first.port());
  ToyClient moved(first.port());
  EXPECT_EQ(kept.Ask("keep"), "ok");
  EXPECT_EQ(moved.Ask("echo"), "what?");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event watch-ended"), "") << first.Said();
  EXPECT_EQ(Who(kept)[0], absl::StrCat(first.pid()));
  EXPECT_EQ(Who(moved)[0], absl::StrCat(second.pid()));
  kept.Send("close\n");
  EXPECT_EQ(kept.Line(), "<end>");
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
}

TEST_F(HandoffTest, AKeptSessionIsGivenUpAtTheDrainDeadline) {
  ToyProcess first(With({{"drain", "50ms"}}));
  ASSERT_TRUE(first.WaitReady());
  ToyClient kept(first.port());
  EXPECT_EQ(kept.Ask("keep"), "ok");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady());
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  EXPECT_EQ(kept.Line(), "<end>");
}

TEST_F(HandoffTest, SessionsThatTheSuccessorRefusesStayWithThePredecessor) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  EXPECT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(With({{"refuse", "all"}}));
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  EXPECT_EQ(Who(client)[0], absl::StrCat(first.pid()));
  client.Send("close\n");
  EXPECT_EQ(client.Line(), "<end>");
  EXPECT_EQ(first.WaitExit(), 0);
}

TEST_F(HandoffTest, SessionsOfATypeThatNobodyTakesStay) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  EXPECT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(With({{"drop_type", "1"}}));
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  EXPECT_EQ(Who(client)[0], absl::StrCat(first.pid()));
}

TEST_F(HandoffTest, MoreSessionsThanAFrameCouldNameStayByTheirType) {
  // Named one by one with a reason, they would fill more than 128 KiB.
  constexpr size_t count = 3000;
  ASSERT_GE(DescriptorLimit(), 2 * count) << "raise the hard limit (ulimit -Hn)";
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (size_t i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<ToyClient>(first.port()));
    clients.back()->Send("echo a\n");
  }
  for (auto& client : clients) ASSERT_EQ(client->Line(), "echo a");
  ToyProcess second(With({{"drop_type", "1"}}));
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  for (auto& client : clients) client->Send("echo b\n");
  for (auto& client : clients) ASSERT_EQ(client->Line(), "echo b");
  EXPECT_EQ(Who(*clients[0])[0], absl::StrCat(first.pid()));
}

TEST_F(HandoffTest, AListenerThatIsNotClaimedIsServedByThePredecessorToItsEnd) {
  ToyProcess first(With({{"extra", "side"}, {"watch", "60s"}}));
  ASSERT_TRUE(first.WaitReady());
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  ToyClient client(first.port());
  EXPECT_EQ(Who(client)[0], absl::StrCat(second.pid()));
}

TEST_F(HandoffTest, IdentityWithoutPidfdsFromTheKernel) {
  const Settings old_kernel = With({{"scm_pidfd", "0"}});
  ToyProcess first(old_kernel);
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  EXPECT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(old_kernel);
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ToyProcess third(old_kernel);
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  EXPECT_EQ(client.Ask("who"), absl::StrCat(third.pid(), " 3 2 2"));
}

TEST_F(HandoffTest, SigtermEndsAServiceWithoutASuccessor) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  first.Signal(SIGTERM);
  EXPECT_EQ(first.WaitExit(), 3) << first.Said();
  ToyProcess fresh(With());
  ASSERT_TRUE(fresh.WaitReady()) << fresh.Said();
  EXPECT_EQ(fresh.generation(), 1u);
}

}  // namespace
}  // namespace handoff::toy
