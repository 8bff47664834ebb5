// Groups that post work to each other without end, over many handoffs: nothing
// that was posted is lost, done twice, or seen on both sides.

#include <stdio.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

constexpr uint64_t kTokens = 12;
constexpr int kHandoffs = 54;
// Of the groups of a process and of its successor, every pair comes up.
constexpr int kGroups[] = {1, 2, 4, 4, 2, 1, 1, 4, 2, 2};
constexpr int kClients = 6;

class AcrossGroupsTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"},
                         {"watch", "1ms"},
                         {"tokens", absl::StrCat(kTokens)}};
    for (const char* name :
         {"hello", "frame", "staging", "quiesce", "frozen"}) {
      settings[name] = absl::FormatDuration(kPatience);
    }
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }

  // The hops by what a process says that it starts with.
  void CheckTokens(ToyProcess& process, uint64_t* hops) {
    const std::string line = process.WaitFor("tokens ");
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    ASSERT_EQ(words.size(), 5u) << process.Said();
    EXPECT_EQ(words[1], absl::StrCat(kTokens)) << "tokens in all\n" << line;
    EXPECT_EQ(words[2], absl::StrCat(kTokens)) << "different ones\n" << line;
    EXPECT_EQ(words[3], words[4]) << "hops and receipts\n" << line;
    ASSERT_TRUE(absl::SimpleAtoi(words[3], hops)) << line;
  }

  ShortFolder folder_;
};

TEST_F(AcrossGroupsTest, NothingPostedIsLostOrDoneTwiceOverManyHandoffs) {
  auto current = std::make_unique<ToyProcess>(
      With({{"groups", absl::StrCat(kGroups[0])}}));
  uint64_t hops = 0;
  CheckTokens(*current, &hops);
  ASSERT_TRUE(current->WaitReady()) << current->Said();
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<ToyClient>(current->port()));
    ASSERT_EQ(clients.back()->Ask("post"), "posted");
  }
  int aborts = 0;
  for (int i = 1; i <= kHandoffs; ++i) {
    const std::string groups =
        absl::StrCat(kGroups[static_cast<size_t>(i) % std::size(kGroups)]);
    if (i % 4 == 0) {
      // Frozen, and then thawed again.
      for (auto& client : clients) client->Send("post\n");
      ToyProcess fails(With({{"groups", groups}, {"fail_restore", "3"}}));
      EXPECT_EQ(fails.WaitExit(), 1) << fails.Said();
      ASSERT_NE(current->WaitFor("event aborted"), "") << current->Said();
      for (auto& client : clients) ASSERT_EQ(client->Line(), "posted");
      ++aborts;
    }
    // Client-caused work is under way, too.
    for (auto& client : clients) client->Send("post\npost\necho x\n");
    std::unique_ptr<ToyProcess> next;
    // The aborted one may not have gone yet.
    do {
      next = std::make_unique<ToyProcess>(With({{"groups", groups}}));
      next->WaitFor("event inheriting");
    } while (!next->Has("event inheriting") && next->Has("failed UNAVAILABLE"));
    uint64_t now = 0;
    CheckTokens(*next, &now);
    ASSERT_TRUE(next->WaitReady()) << next->Said();
    EXPECT_GT(now, hops) << "no token has moved since the last handoff";
    hops = now;
    for (auto& client : clients) {
      std::vector<std::string> lines = {client->Line(), client->Line(),
                                        client->Line()};
      std::sort(lines.begin(), lines.end());
      ASSERT_EQ(lines, (std::vector<std::string>{"echo x", "posted", "posted"}))
          << "handoff " << i << "\n"
          << next->Said();
    }
    EXPECT_EQ(current->WaitExit(), 0) << current->Said();
    current = std::move(next);
    if (HasFailure()) return;
  }
  // Nothing came twice.
  for (auto& client : clients) EXPECT_EQ(client->Ask("echo end"), "echo end");
  ::printf("%d handoffs, %d aborts, %lu hops of %lu tokens\n", kHandoffs,
           aborts, hops, kTokens);
}

}  // namespace
}  // namespace handoff::toy
