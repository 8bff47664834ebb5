#include "handoff/fd/shared_word.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <random>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/memfd.h"

namespace handoff {
namespace {

constexpr uint32_t kOpen = 0;
constexpr uint32_t kCommitted = 1;
constexpr uint32_t kAborted = 2;

constexpr int kFixedSize = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

SharedWord Create() {
  absl::StatusOr<SharedWord> word = SharedWord::Create();
  EXPECT_TRUE(word.ok()) << word.status();
  return *std::move(word);
}

UniqueFd MakeSized(off_t size, int seals) {
  absl::StatusOr<UniqueFd> fd = MakeMemfd("test");
  EXPECT_TRUE(fd.ok()) << fd.status();
  EXPECT_EQ(::ftruncate(fd->get(), size), 0);
  EXPECT_EQ(::fcntl(fd->get(), F_ADD_SEALS, seals), 0);
  return *std::move(fd);
}

TEST(SharedWordTest, SwapsOnceAndTellsTheLoserWhoWon) {
  const NoDescriptorLeak no_leak;
  SharedWord word = Create();
  EXPECT_EQ(word.Load(), kOpen);
  EXPECT_EQ(word.CompareExchange(kOpen, kAborted), kOpen);
  EXPECT_EQ(word.CompareExchange(kOpen, kCommitted), kAborted);
  EXPECT_EQ(word.Load(), kAborted);
}

TEST(SharedWordTest, IsOneWordForEveryoneWhoMapsIt) {
  const NoDescriptorLeak no_leak;
  SharedWord word = Create();
  absl::StatusOr<SharedWord> other =
      SharedWord::Map(UniqueFd(::dup(word.fd())));
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->CompareExchange(kOpen, kCommitted), kOpen);
  EXPECT_EQ(word.Load(), kCommitted) << "mapping it again must not clear it";
  absl::StatusOr<SharedWord> third =
      SharedWord::Map(UniqueFd(::dup(word.fd())));
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(third->Load(), kCommitted);
}

TEST(SharedWordTest, OutlivesTheSideThatMadeIt) {
  const NoDescriptorLeak no_leak;
  absl::StatusOr<SharedWord> heir = absl::UnknownError("not yet mapped");
  {
    SharedWord word = Create();
    heir = SharedWord::Map(UniqueFd(::dup(word.fd())));
    word.CompareExchange(kOpen, kAborted);
  }
  ASSERT_TRUE(heir.ok()) << heir.status();
  EXPECT_EQ(heir->Load(), kAborted);
}

TEST(SharedWordTest, MovesWithItsMapping) {
  const NoDescriptorLeak no_leak;
  SharedWord a = Create();
  a.CompareExchange(kOpen, kCommitted);
  SharedWord b = std::move(a);
  EXPECT_EQ(b.Load(), kCommitted);
  SharedWord c = Create();
  c = std::move(b);
  EXPECT_EQ(c.Load(), kCommitted);
  SharedWord& self = c;
  c = std::move(self);
  EXPECT_EQ(c.Load(), kCommitted);
}

TEST(SharedWordTest, NeitherSideCanTakeTheMemoryAway) {
  const NoDescriptorLeak no_leak;
  SharedWord word = Create();
  EXPECT_LT(::ftruncate(word.fd(), 0), 0);
  EXPECT_EQ(::fcntl(word.fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(word.Load(), kOpen);
}

TEST(SharedWordTest, RefusesWhatIsNoWordAndClosesIt) {
  const NoDescriptorLeak no_leak;
  const auto refused = [](UniqueFd fd) {
    return SharedWord::Map(std::move(fd)).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(SharedWord::Map(MakeSized(4096, kFixedSize)).ok());
  for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL}) {
    EXPECT_TRUE(refused(MakeSized(4096, kFixedSize & ~missing)))
        << "without the seal " << missing;
  }
  // An access behind the end of the file would be a SIGBUS.
  EXPECT_TRUE(refused(MakeSized(0, kFixedSize)));
  EXPECT_TRUE(refused(MakeSized(4, kFixedSize)));
  EXPECT_TRUE(refused(MakeSized(1 << 20, kFixedSize)));
  EXPECT_TRUE(refused(MakeSized(4096, kFixedSize | F_SEAL_WRITE)));
  const UniqueFd word = MakeSized(4096, kFixedSize);
  const std::string path = "/proc/self/fd/" + std::to_string(word.get());
  EXPECT_TRUE(refused(UniqueFd(::open(path.c_str(), O_RDONLY))));
  EXPECT_TRUE(refused(UniqueFd(::open("/dev/null", O_RDWR))));
  EXPECT_TRUE(refused(UniqueFd()));
}

// Two processes race for each of many words: every word has exactly one winner,
// and both agree who it is.
TEST(SharedWordTest, ARaceBetweenProcessesHasExactlyOneWinner) {
  const NoDescriptorLeak no_leak;
  constexpr int kRaces = 10'000;
  // One word in turn starts each race, one counts whom the child beat.
  SharedWord turn = Create();
  SharedWord decided = Create();
  SharedWord child_won = Create();
  const auto wait_for = [](const SharedWord& word, uint32_t value) {
    // Gives way only after a while: where there are two processors, both sides
    // are to be on one of their own when they meet.
    for (int spins = 0; word.Load() != value; ++spins) {
      if (spins > 1000) ::sched_yield();
    }
  };
  // Who starts the race would win nearly all of them: each side hesitates for a
  // while of its own, so that now one and now the other is first.
  const auto hesitate = [&](std::minstd_rand& random) {
    for (auto left = random() % 1000; left > 0; --left) (void)turn.Load();
    // And where they share one processor, lets the other go first.
    if (random() % 2 == 0) ::sched_yield();
  };
  ForkedChild child([&] {
    std::minstd_rand random(1);
    for (uint32_t race = 1; race <= kRaces; ++race) {
      wait_for(turn, race);
      hesitate(random);
      if (decided.CompareExchange(race, race | 0x8000'0000u) == race) {
        child_won.CompareExchange(0, race);
      }
      // Both are done with this race before the next begins.
      turn.CompareExchange(race, race | 0x8000'0000u);
    }
    return 0;
  });
  std::minstd_rand random(2);
  int parent_wins = 0;
  int child_wins = 0;
  for (uint32_t race = 1; race <= kRaces; ++race) {
    decided.CompareExchange(decided.Load(), race);
    child_won.CompareExchange(child_won.Load(), 0);
    turn.CompareExchange(turn.Load(), race);
    hesitate(random);
    const uint32_t found = decided.CompareExchange(race, race | 0x4000'0000u);
    wait_for(turn, race | 0x8000'0000u);
    const bool parent = found == race;
    const bool other = child_won.Load() == race;
    ASSERT_NE(parent, other)
        << "race " << race << (parent ? ": two winners" : ": no winner");
    ASSERT_EQ(decided.Load(), race | (parent ? 0x4000'0000u : 0x8000'0000u));
    ++(parent ? parent_wins : child_wins);
  }
  EXPECT_EQ(child.Wait(), 0);
  RecordProperty("parent_wins", parent_wins);
  RecordProperty("child_wins", child_wins);
}

TEST(SharedWordTest, AProcessThatDiesRightAfterTheSwapHasDecided) {
  const NoDescriptorLeak no_leak;
  for (int i = 0; i < 100; ++i) {
    SharedWord word = Create();
    ForkedChild successor([&] {
      return word.CompareExchange(kOpen, kCommitted) == kOpen ? 0 : 1;
    });
    const uint32_t found = word.CompareExchange(kOpen, kAborted);
    const int code = successor.Wait();
    ASSERT_EQ(code == 0, found == kCommitted || word.Load() == kCommitted);
    ASSERT_EQ(code == 1, found == kOpen && word.Load() == kAborted);
  }
}

}  // namespace
}  // namespace handoff
