// A service that is killed with nobody to take over, and is started again with
// what it had stored.

#include <signal.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/query.h"
#include "tests/process/store_manager.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

class StoreProcessTest : public testing::Test {
 protected:
  std::unique_ptr<ToyProcess> Start(Settings more = {}) {
    Settings settings = {{"handoff", folder_ / "h"},
                         {"fd_store", "1"},
                         {"store_interval", "20ms"},
                         {"store_proof", "0s"},
                         {"watch", "30s"}};
    for (const auto& [key, value] : more) settings[key] = value;
    return manager_.Start(settings);
  }

  void Connect(int port, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      clients_.push_back(std::make_unique<ToyClient>(port));
      const std::string line = absl::StrCat("echo ", i);
      ASSERT_EQ(clients_.back()->Ask(line), line);
    }
  }

  static void Kill(ToyProcess& process) {
    process.Signal(SIGKILL);
    ASSERT_EQ(process.WaitExit(), -SIGKILL) << process.Said();
  }

  v1::LedgerHandoff Last() {
    auto reply = Ask(folder_ / "h", v1::Query::LEDGER);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.ok() && reply->handoffs_size() > 0
               ? reply->handoffs(reply->handoffs_size() - 1)
               : v1::LedgerHandoff();
  }

  ShortFolder folder_;
  StoreManager manager_;
  std::vector<std::unique_ptr<ToyClient>> clients_;
};

bool IsOver(const std::string& line) {
  return line == "<reset>" || line == "<end>";
}

TEST_F(StoreProcessTest, IdleConnectionsAndListenersLiveThroughAKill) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 50);
  // One with more state than goes inline into a frame.
  EXPECT_EQ(clients_[7]->Ask("ballast 100000"), "ok");
  const std::string weight = clients_[7]->Ask("weigh");
  ASSERT_TRUE(manager_.WaitCurrent(50));
  Kill(*first);
  ToyClient between(first->port());
  EXPECT_TRUE(between.connected()) << "the listener is in the store";
  between.Send("echo meanwhile\n");

  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(second->port(), first->port());
  EXPECT_EQ(second->generation(), 2u);
  EXPECT_EQ(between.Line(), "echo meanwhile");
  EXPECT_EQ(clients_[7]->Ask("weigh"), weight);
  for (size_t i = 0; i < clients_.size(); ++i) {
    EXPECT_EQ(clients_[i]->Ask("who"),
              absl::StrCat(second->pid(), " 2 0 ", i == 7 ? 5 : 2))
        << "client " << i << "\n"
        << second->Said();
  }
  EXPECT_EQ(clients_[0]->Ask("total"), absl::StrCat(50 + 2 + 1 + 1 + 50 + 1));
  const v1::LedgerHandoff entry = Last();
  EXPECT_EQ(entry.result(), "committed");
  EXPECT_EQ(entry.predecessor_pid(), first->pid());
  EXPECT_EQ(entry.lost(), 0u) << entry.ShortDebugString();
  EXPECT_EQ(entry.moved(), 50u + 1 + 2) << "a listener, the handoff's, a blob";

  // And again, with what is new since then.
  ASSERT_TRUE(manager_.WaitCurrent(51));
  EXPECT_TRUE(manager_.WaitLogs(1));
  Kill(*second);
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(third->generation(), 3u);
  EXPECT_EQ(between.Ask("who"), absl::StrCat(third->pid(), " 3 0 2"));
  EXPECT_EQ(Last().moved(), 51u + 1 + 2);
}

// What nobody had read yet is still in the kernel, and is answered.
TEST_F(StoreProcessTest, WhatIsSentWhileNobodyServesIsAnswered) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 4);
  clients_[1]->Send("echo half");
  // Not between the moment in which the half line is read and the next round;
  // it may not have been read yet, then it waits like the others.
  for (int attempt = 0; attempt < 100; ++attempt) {
    ASSERT_TRUE(manager_.WaitCurrent(4));
    first->Signal(SIGSTOP);
    ASSERT_TRUE(first->WaitStopped());
    if (manager_.Untouched().size() == 4) break;
    first->Signal(SIGCONT);
  }
  clients_[0]->Send("echo late\n");
  Kill(*first);
  clients_[1]->Send(" and half\n");
  clients_[2]->Send("echo later\n");
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(clients_[0]->Line(), "echo late");
  EXPECT_EQ(clients_[1]->Line(), "echo half and half");
  EXPECT_EQ(clients_[2]->Line(), "echo later");
  EXPECT_EQ(clients_[3]->Ask("echo idle"), "echo idle");
}

TEST_F(StoreProcessTest, WhoWasServedSinceTheLastRoundIsReset) {
  auto first = Start({{"store_interval", "200ms"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 6);
  // Stopped before a round has seen what was answered: mostly at once.
  std::set<uint64_t> untouched;
  for (int attempt = 0; attempt < 100; ++attempt) {
    ASSERT_TRUE(manager_.WaitCurrent(6));
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(clients_[i]->Ask("echo more"), "echo more");
    }
    first->Signal(SIGSTOP);
    ASSERT_TRUE(first->WaitStopped());
    untouched = manager_.Untouched();
    if (untouched.size() == 3) break;
    first->Signal(SIGCONT);
  }
  ASSERT_EQ(untouched.size(), 3u);
  Kill(*first);
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(IsOver(clients_[i]->Line())) << "client " << i;
  }
  for (size_t i = 3; i < 6; ++i) {
    EXPECT_EQ(clients_[i]->Ask("echo idle"), "echo idle") << "client " << i;
  }
  const v1::LedgerHandoff entry = Last();
  EXPECT_EQ(entry.lost(), 3u) << entry.ShortDebugString();
  for (const v1::LedgerEntry& e : entry.entries()) {
    if (e.outcome() != v1::LedgerEntry::LOST) continue;
    EXPECT_EQ(e.reason(), "it was touched since it was stored");
    EXPECT_EQ(e.name(), "toy");
    EXPECT_EQ(untouched.count(e.session()), 0u);
  }
  EXPECT_TRUE(manager_.WaitSessions(3)) << "the lost ones are forgotten";
}

TEST_F(StoreProcessTest, NothingIsLeftOfWhatHasEnded) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 10);
  ASSERT_TRUE(manager_.WaitCurrent(10));
  EXPECT_EQ(manager_.names().size(), 12u) << "sessions, listener, log";
  for (size_t i = 0; i < 5; ++i) clients_[i]->Send("close\n");
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(clients_[i]->Line(), "<end>");
  ASSERT_TRUE(manager_.WaitSessions(5));
  clients_[5]->Send("reset\n");
  EXPECT_EQ(clients_[5]->Line(), "<reset>");
  EXPECT_EQ(clients_[6]->Ask("keep"), "ok");
  ASSERT_TRUE(manager_.WaitSessions(3)) << "what cannot move is not stored";
  clients_.clear();
  ASSERT_TRUE(manager_.WaitSessions(0));
  EXPECT_EQ(manager_.names().size(), 2u);
  first->Signal(SIGTERM);
  EXPECT_EQ(first->WaitExit(), 3) << first->Said();
  EXPECT_TRUE(manager_.WaitEmpty()) << "who ends by itself has not crashed";
}

TEST_F(StoreProcessTest, NoMoreIsStoredThanTheStoreTakes) {
  auto first = Start({{"max_stored", "8"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 20);
  // A listener, and room for two logs.
  ASSERT_TRUE(manager_.WaitCurrent(5));
  ASSERT_FALSE(first->WaitFor("event note session").empty());
  EXPECT_LE(manager_.names().size(), 8u);
  EXPECT_TRUE(
      absl::StrContains(first->lines().back(), "the store takes 8 descriptors"))
      << first->lines().back();
  Kill(*first);
  auto second = Start({{"max_stored", "8"}});
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  int live = 0;
  for (auto& client : clients_) live += !IsOver(client->Ask("echo x"));
  EXPECT_EQ(live, 5);
}

TEST_F(StoreProcessTest, ASuccessorStoresOnceItIsOnItsOwn) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 5);
  ASSERT_TRUE(manager_.WaitCurrent(5));
  auto second = Start({{"watch", "100ms"}});
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(second->generation(), 2u);
  // Within the watch the predecessor has the store.
  EXPECT_TRUE(manager_.WaitLogs(1));
  ToyClient later(second->port());
  EXPECT_EQ(later.Ask("echo later"), "echo later");
  EXPECT_EQ(clients_[0]->Ask("echo moved"), "echo moved");
  clients_[1]->Send("close\n");
  EXPECT_EQ(clients_[1]->Line(), "<end>");
  // That one has hung up; the new one is not in the store.
  ASSERT_TRUE(manager_.WaitSessions(4));
  auto third = Start();  // retires the first
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(first->WaitExit(), 0) << first->Said();
  EXPECT_EQ(second->WaitExit(), 0) << second->Said();
  ASSERT_TRUE(manager_.WaitCurrent(5)) << "four, and the new one";
  EXPECT_TRUE(manager_.WaitLogs(1));
  Kill(*third);
  auto fourth = Start();
  ASSERT_TRUE(fourth->WaitReady()) << fourth->Said();
  EXPECT_EQ(fourth->generation(), 4u);
  EXPECT_EQ(clients_[0]->Ask("who"), absl::StrCat(fourth->pid(), " 4 2 3"));
  EXPECT_EQ(later.Ask("who"), absl::StrCat(fourth->pid(), " 4 1 2"));
  EXPECT_EQ(clients_[4]->Ask("echo x"), "echo x");
}

TEST_F(StoreProcessTest, ASuccessorStoresWhileItsPredecessorDrains) {
  auto first = Start({{"watch", "50ms"}, {"drain", "10m"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 3);
  EXPECT_EQ(clients_[0]->Ask("keep"), "ok");
  ASSERT_TRUE(manager_.WaitCurrent(2));
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(clients_[1]->Ask("echo moved"), "echo moved");
  ToyClient later(second->port());
  EXPECT_EQ(later.Ask("echo later"), "echo later");
  ASSERT_TRUE(manager_.WaitCurrent(3));
  EXPECT_FALSE(first->Ended());
  EXPECT_EQ(clients_[0]->Ask("echo kept"), "echo kept");
  Kill(*second);
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(clients_[1]->Ask("who"), absl::StrCat(third->pid(), " 3 1 3"));
  EXPECT_EQ(later.Ask("who"), absl::StrCat(third->pid(), " 3 0 2"));
  EXPECT_EQ(clients_[0]->Ask("echo kept"), "echo kept") << first->Said();
}

TEST_F(StoreProcessTest, ASuccessorWithAnotherStoreStoresEverythingThere) {
  auto first = Start({{"watch", "50ms"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 3);
  ASSERT_TRUE(manager_.WaitCurrent(3));
  StoreManager other;
  const Settings settings = {{"handoff", folder_ / "h"},
                             {"fd_store", "1"},
                             {"store_interval", "20ms"},
                             {"store_proof", "0s"}};
  auto second = other.Start(settings);
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(first->WaitExit(), 0) << first->Said();
  ASSERT_TRUE(other.WaitCurrent(3));
  Kill(*second);
  auto third = other.Start(settings);
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  for (auto& client : clients_) {
    EXPECT_EQ(client->Ask("who"), absl::StrCat(third->pid(), " 3 1 2"));
  }
}

TEST_F(StoreProcessTest, ASuccessorWaitsUntilTheManagerTakesWhatItSends) {
  auto first = Start({{"watch", "50ms"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 3);
  ASSERT_TRUE(manager_.WaitCurrent(3));
  const std::multiset<std::string> before = manager_.names();
  manager_.SetMain(first->pid());
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(clients_[0]->Ask("close"), "<end>");
  EXPECT_EQ(first->WaitExit(), 0) << first->Said();
  ToyClient later(second->port());
  EXPECT_EQ(later.Ask("echo later"), "echo later");
  manager_.SetMain(second->pid());
  ASSERT_TRUE(manager_.WaitCurrent(3));
  EXPECT_TRUE(manager_.WaitLogs(1));
  EXPECT_EQ(manager_.names().size(), before.size()) << "and no probe";
  Kill(*second);
  manager_.SetMain(0);
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(clients_[1]->Ask("who"), absl::StrCat(third->pid(), " 3 1 2"));
  EXPECT_EQ(later.Ask("who"), absl::StrCat(third->pid(), " 3 0 2"));
}

TEST_F(StoreProcessTest, BothAreKilledInTheWatch) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 5);
  ASSERT_TRUE(manager_.WaitCurrent(5));
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(clients_[0]->Ask("echo moved"), "echo moved");
  ToyClient later(second->port());
  EXPECT_EQ(later.Ask("echo later"), "echo later");
  // At one time: neither sees the other die.
  for (ToyProcess* process : {first.get(), second.get()}) {
    process->Signal(SIGSTOP);
    ASSERT_TRUE(process->WaitStopped());
  }
  Kill(*first);
  Kill(*second);
  EXPECT_TRUE(IsOver(later.Line())) << "nobody else had it";
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(third->generation(), 3u) << "2 was given out";
  EXPECT_TRUE(IsOver(clients_[0]->Line())) << "the second had answered it";
  for (size_t i = 1; i < 5; ++i) {
    EXPECT_EQ(clients_[i]->Ask("who"), absl::StrCat(third->pid(), " 3 0 2"));
  }
}

TEST_F(StoreProcessTest, BothAreKilledBeforeTheCommit) {
  auto first = Start({{"frozen", "10m"}, {"frame", "10m"}, {"staging", "10m"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 5);
  ASSERT_TRUE(manager_.WaitCurrent(5));
  auto second = Start({{"stop_at", "ready-sent"}, {"signal", "19"}});
  ASSERT_TRUE(second->WaitStopped()) << second->Said();
  Kill(*first);
  Kill(*second);
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(clients_[i]->Ask("who"), absl::StrCat(third->pid(), " 3 0 2"));
  }
}

TEST_F(StoreProcessTest, WhoIsAbortedOrRehearsedLeavesAProcessThatStores) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 5);
  ASSERT_TRUE(manager_.WaitCurrent(5));
  auto rehearsal = Start({{"rehearse", "1"}});
  EXPECT_EQ(rehearsal->WaitExit(), 1);
  auto second = Start({{"stop_at", "ready-sent"}});  // is killed there
  EXPECT_EQ(second->WaitExit(), -SIGKILL);
  EXPECT_EQ(clients_[0]->Ask("echo on"), "echo on");
  Connect(first->port(), 2);
  ASSERT_TRUE(manager_.WaitCurrent(7));
  // A successor that crashes in the watch: what it had touched is over, the
  // rest is taken back and stored.
  auto third = Start();
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(clients_[0]->Ask("echo moved"), "echo moved");
  Kill(*third);
  ASSERT_FALSE(first->WaitFor("event rolled-back").empty());
  ToyClient fresh(first->port());
  EXPECT_EQ(fresh.Ask("echo back"), "echo back");
  ASSERT_TRUE(manager_.WaitCurrent(1)) << "this group takes nothing back";
  EXPECT_TRUE(manager_.WaitSessions(1));
  for (auto& client : clients_) EXPECT_TRUE(IsOver(client->Line()));
  Kill(*first);
  auto fourth = Start();
  ASSERT_TRUE(fourth->WaitReady()) << fourth->Said();
  EXPECT_EQ(fresh.Ask("echo again"), "echo again");
}

TEST_F(StoreProcessTest, StateThatKillsWhoeverAdoptsItDoesSoTwice) {
  auto first = Start({{"store_proof", "30s"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 3);
  EXPECT_EQ(clients_[1]->Ask("poison"), "ok");
  ASSERT_TRUE(manager_.WaitCurrent(3));
  Kill(*first);
  for (int i = 0; i < 2; ++i) {
    auto next = Start({{"store_proof", "30s"}});
    EXPECT_EQ(next->WaitExit(), -SIGKILL) << next->Said();
  }
  auto last = Start({{"store_proof", "30s"}});
  ASSERT_TRUE(last->WaitReady()) << last->Said();
  EXPECT_TRUE(last->Has("event note 2 processes in a row died"))
      << last->Said();
  EXPECT_EQ(last->port(), first->port());
  for (auto& client : clients_) EXPECT_TRUE(IsOver(client->Line()));
  EXPECT_EQ(Last().lost(), 3u);
  Connect(last->port(), 1);
  ASSERT_TRUE(manager_.WaitCurrent(1));
  Kill(*last);
  auto more = Start();
  ASSERT_TRUE(more->WaitReady()) << more->Said();
  EXPECT_EQ(clients_.back()->Ask("echo x"), "echo x");
}

TEST_F(StoreProcessTest, StateThatAnOlderProgramCannotReadIsReset) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 3);
  ASSERT_TRUE(manager_.WaitCurrent(3));
  Kill(*first);
  auto second = Start({{"highest", "1"}});
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(second->port(), first->port());
  for (auto& client : clients_) EXPECT_TRUE(IsOver(client->Line()));
  const v1::LedgerHandoff entry = Last();
  for (const v1::LedgerEntry& e : entry.entries()) {
    if (e.outcome() == v1::LedgerEntry::LOST) {
      EXPECT_EQ(e.reason(), "this program does not read its state");
    }
  }
  EXPECT_EQ(entry.lost(), 3u);
}

TEST_F(StoreProcessTest, WhoTakesOverDoesNotLookAtTheStore) {
  auto first = Start();
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  Connect(first->port(), 3);
  ASSERT_TRUE(manager_.WaitCurrent(3));
  EXPECT_EQ(clients_[0]->Ask("echo x"), "echo x");
  auto second = Start();
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(clients_[0]->Ask("who"), absl::StrCat(second->pid(), " 2 1 3"));
  for (const std::string& line : second->lines()) {
    EXPECT_FALSE(absl::StrContains(line, "store")) << line;
  }
}

}  // namespace
}  // namespace handoff::toy
