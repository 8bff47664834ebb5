// One listener for each worker: handed over from N workers to M, by everything
// that can become of a handoff, with connections that wait in every queue.

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/query.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

// So many that each of four listeners gets some.
constexpr int kMany = 200;

// How many connections wait at each listener of the port, by /proc/net/tcp,
// where that is the receive queue of a socket in state 0A.
std::vector<int> Queues(int port) {
  std::vector<int> queues;
  std::ifstream table("/proc/net/tcp");
  const std::string end = absl::StrFormat(":%04X", port);
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string slot, local, remote, state, queue;
    words >> slot >> local >> remote >> state >> queue;
    if (state != "0A" || !absl::EndsWith(local, end)) continue;
    queues.push_back(static_cast<int>(
        std::stoul(queue.substr(queue.find(':') + 1), nullptr, 16)));
  }
  return queues;
}

int Sum(const std::vector<int>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0);
}

class ShardedTest : public testing::Test {
 protected:
  Settings With(Settings more) const {
    Settings settings = {{"handoff", folder_ / "h"}, {"sharded", "1"}};
    for (const char* name :
         {"hello", "frame", "staging", "quiesce", "frozen", "watch"}) {
      settings[name] = absl::FormatDuration(kPatience);
    }
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  std::unique_ptr<ToyProcess> Start(int groups, Settings more = {}) const {
    more["groups"] = absl::StrCat(groups);
    return std::make_unique<ToyProcess>(With(std::move(more)));
  }

  // More connections that nobody accepts. Each listener gets some of them.
  void ConnectMany(int port, size_t listeners) {
    for (int i = 0; i < kMany; ++i) {
      clients_.push_back(std::make_unique<ToyClient>(port));
      ASSERT_TRUE(clients_.back()->connected()) << "refused";
    }
    // The last handshakes may not be through.
    const absl::Time deadline = absl::Now() + kPatience;
    const int all = static_cast<int>(clients_.size());
    while (Sum(Queues(port)) != all && absl::Now() < deadline) ::sched_yield();
    const std::vector<int> queues = Queues(port);
    ASSERT_EQ(queues.size(), listeners) << absl::StrJoin(queues, " ");
    ASSERT_EQ(Sum(queues), all) << absl::StrJoin(queues, " ");
    ASSERT_GT(*std::min_element(queues.begin(), queues.end()), 0)
        << absl::StrJoin(queues, " ");
  }
  // Every one of them is served, by this process.
  void AllAreServedBy(ToyProcess& process) {
    for (size_t i = 0; i < clients_.size(); ++i) {
      ASSERT_EQ(clients_[i]->Ask("echo a"), "echo a")
          << "connection " << i << " of " << clients_.size() << "; "
          << process.Said();
    }
    for (auto& client : clients_) {
      ASSERT_EQ(Who(*client)[0], absl::StrCat(process.pid()));
    }
    EXPECT_EQ(Sum(Queues(process.port())), 0);
  }

  ShortFolder folder_;
  std::vector<std::unique_ptr<ToyClient>> clients_;
};

// In each generation nobody accepts but in the last.
class ShardedChainTest : public ShardedTest,
                         public testing::WithParamInterface<std::vector<int>> {
};

TEST_P(ShardedChainTest, EveryConnectionInEveryQueueIsServedByTheLast) {
  std::vector<int> workers = GetParam();
  const Settings waits = {{"accept", "0"}, {"watch", "1ms"}};
  auto serving = Start(workers[0], waits);
  ASSERT_TRUE(serving->WaitReady()) << serving->Said();
  const int port = serving->port();
  const size_t first = static_cast<size_t>(workers[0]);
  size_t listeners = first;
  ASSERT_NO_FATAL_FAILURE(ConnectMany(port, listeners));
  // Of as many groups as the first has.
  const std::map<std::string, int> fresh = DescriptorTable(serving->pid());
  workers.push_back(workers[0]);
  for (size_t i = 1; i < workers.size(); ++i) {
    auto next = Start(workers[i], i + 1 < workers.size() ? waits : Settings());
    ASSERT_TRUE(next->WaitReady()) << next->Said();
    EXPECT_EQ(next->port(), port);
    ASSERT_EQ(serving->WaitExit(), 0) << serving->Said();
    serving = std::move(next);
    listeners = std::max(listeners, static_cast<size_t>(workers[i]));
    ASSERT_EQ(Queues(port).size(), listeners);
    if (i + 1 < workers.size()) {
      ASSERT_NO_FATAL_FAILURE(ConnectMany(port, listeners));
    }
  }
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*serving));
  EXPECT_FALSE(serving->Has("event note")) << serving->Said();

  // As many descriptors as at first, and what is more of listeners.
  clients_.clear();
  std::map<std::string, int> expected = fresh;
  expected["socket"] += static_cast<int>(listeners - first);
  EXPECT_EQ(SettledTable(serving->pid(), expected), expected);
  const auto list = Ask(folder_ / "h", v1::Query::LIST, kPatience);
  ASSERT_TRUE(list.ok()) << list.status();
  size_t listed = 0;
  for (const v1::InventoryItem& item : list->items()) {
    if (item.category() != "listener") continue;
    ++listed;
    EXPECT_EQ(item.name(), "toy");
    EXPECT_EQ(item.descriptors(0).local_address(),
              absl::StrCat("127.0.0.1:", port));
  }
  EXPECT_EQ(listed, listeners);
}

INSTANTIATE_TEST_SUITE_P(
    Of, ShardedChainTest,
    testing::Values(std::vector<int>{1, 4}, std::vector<int>{2, 3},
                    std::vector<int>{3, 3}, std::vector<int>{4, 2},
                    std::vector<int>{4, 1}, std::vector<int>{1, 4, 1, 4},
                    std::vector<int>{2, 3, 1, 4, 2}),
    [](const testing::TestParamInfo<std::vector<int>>& info) {
      return absl::StrJoin(info.param, "To");
    });

// Where a successor with more workers fails before the commit.
class ShardedAbortTest : public ShardedTest,
                         public testing::WithParamInterface<const char*> {};

TEST_P(ShardedAbortTest, ResetsNobody) {
  auto first = Start(2);
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  const int port = first->port();
  auto second = Start(4, {{"fault", absl::StrCat(GetParam(), ":stop")}});
  ASSERT_NE(second->WaitFor("fault "), "") << second->Said();
  ASSERT_TRUE(second->WaitStopped());
  // The two go on accepting, until they are frozen.
  for (int i = 0; i < kMany; ++i) {
    clients_.push_back(std::make_unique<ToyClient>(port));
    ASSERT_TRUE(clients_.back()->connected()) << "refused";
  }
  EXPECT_EQ(Queues(port).size(), 2u) << "a queue that is about to be closed";
  second->Signal(SIGKILL);
  ASSERT_NE(first->WaitFor("event aborted"), "") << first->Said();
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*first));
  // The next attempt succeeds.
  auto third = Start(4);
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(Queues(port).size(), 4u);
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*third));
}

INSTANTIATE_TEST_SUITE_P(StoppedAt, ShardedAbortTest,
                         testing::Values("state staged", "sent ready",
                                         "received final", "state decoding"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           std::string name(info.param);
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST_F(ShardedTest, APredecessorThatAbortsHasLostNobody) {
  auto first = Start(2, {{"frozen", "1s"}, {"released", "200ms"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  auto second = Start(4, {{"fault", "received final:stop"}});
  ASSERT_NE(first->WaitFor("event cut"), "") << first->Said();
  // It is frozen: they wait.
  for (int i = 0; i < kMany; ++i) {
    clients_.push_back(std::make_unique<ToyClient>(first->port()));
    ASSERT_TRUE(clients_.back()->connected()) << "refused";
  }
  ASSERT_NE(first->WaitFor("event aborted"), "") << first->Said();
  // Killed, or told where Final came too late.
  EXPECT_NE(second->WaitExit(), 0) << second->Said();
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*first));
  EXPECT_EQ(Queues(first->port()).size(), 2u);
}

TEST_F(ShardedTest, AdoptedFromADeadPredecessorEveryQueueIsServed) {
  auto first = Start(2, {{"accept", "0"}, {"fault", "received ready:kill"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  ASSERT_NO_FATAL_FAILURE(ConnectMany(first->port(), 2));
  auto second = Start(4);
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_EQ(first->WaitExit(), -SIGKILL) << first->Said();
  EXPECT_TRUE(second->Has("event adopted")) << second->Said();
  EXPECT_EQ(Queues(second->port()).size(), 4u);
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*second));
}

TEST_F(ShardedTest, CrashedAtTheCommitItHasResetNobody) {
  auto first = Start(2);
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  auto second = Start(4, {{"fault", "state committed:stop"}});
  ASSERT_NE(second->WaitFor("fault "), "") << second->Said();
  ASSERT_NO_FATAL_FAILURE(ConnectMany(first->port(), 2));
  second->Signal(SIGKILL);
  ASSERT_NE(first->WaitFor("event rolled-back"), "") << first->Said();
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*first));
}

TEST_F(ShardedTest, RolledBackThePredecessorAcceptsOnWhatItHad) {
  auto first = Start(2);
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  const int port = first->port();
  auto second = Start(4);
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  ASSERT_NE(first->WaitFor("event released"), "") << first->Said();
  EXPECT_EQ(Queues(port).size(), 4u);
  second->Signal(SIGKILL);
  ASSERT_NE(first->WaitFor("event rolled-back"), "") << first->Said();
  EXPECT_EQ(Queues(port).size(), 2u);
  for (int i = 0; i < kMany; ++i) {
    clients_.push_back(std::make_unique<ToyClient>(port));
    ASSERT_TRUE(clients_.back()->connected()) << "refused";
  }
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*first));
  auto third = Start(3);
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  EXPECT_EQ(Queues(port).size(), 3u);
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*third));
}

TEST_F(ShardedTest, OnePlainListenerIsSharedAndGivenBack) {
  const Settings plain = {{"sharded", "0"}, {"accept", "0"}};
  auto first = Start(2, plain);
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  const int port = first->port();
  ASSERT_NO_FATAL_FAILURE(ConnectMany(port, 1));
  auto second = Start(3, {{"accept", "0"}});
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  EXPECT_TRUE(
      second->Has("event note listener \"toy\": 3 workers share 1: it "
                  "has no SO_REUSEPORT"))
      << second->Said();
  ASSERT_NO_FATAL_FAILURE(ConnectMany(port, 1));
  auto third = Start(2, {{"sharded", "0"}});
  ASSERT_TRUE(third->WaitReady()) << third->Said();
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*third));
}

TEST_F(ShardedTest, ARehearsalLeavesTheQueuesAsTheyAre) {
  auto first = Start(2, {{"accept", "0"}});
  ASSERT_TRUE(first->WaitReady()) << first->Said();
  const int port = first->port();
  ASSERT_NO_FATAL_FAILURE(ConnectMany(port, 2));
  auto rehearsal = Start(4, {{"rehearse", "1"}});
  ASSERT_NE(rehearsal->WaitFor(
                "failed CANCELLED: a rehearsal: everything would move"),
            "")
      << rehearsal->Said();
  EXPECT_EQ(rehearsal->WaitExit(), 1);
  ASSERT_NO_FATAL_FAILURE(ConnectMany(port, 2));
  auto second = Start(4);
  ASSERT_TRUE(second->WaitReady()) << second->Said();
  ASSERT_NO_FATAL_FAILURE(AllAreServedBy(*second));
}

}  // namespace
}  // namespace handoff::toy
