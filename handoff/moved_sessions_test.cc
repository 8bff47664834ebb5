#include "handoff/moved_sessions.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

constexpr uint64_t kLastId = std::numeric_limits<uint64_t>::max();

v1::MovedSessions Runs(std::initializer_list<uint64_t> runs) {
  v1::MovedSessions moved;
  moved.set_type("t");
  for (const uint64_t number : runs) moved.add_runs(number);
  return moved;
}

v1::MovedSessions Written(std::initializer_list<uint64_t> sessions) {
  MovedIds ids;
  for (const uint64_t session : sessions) ids.Add("t", session);
  v1::LedgerHandoff handoff;
  ids.MoveTo(handoff);
  EXPECT_EQ(handoff.moved_sessions_size(), 1);
  return handoff.moved_sessions(0);
}

std::vector<uint64_t> Read(const v1::MovedSessions& moved) {
  v1::LedgerHandoff handoff;
  *handoff.add_moved_sessions() = moved;
  ExpandMoved(handoff);
  EXPECT_EQ(handoff.moved_sessions_size(), 0);
  std::vector<uint64_t> sessions;
  for (const v1::LedgerEntry& entry : handoff.entries()) {
    EXPECT_EQ(entry.outcome(), v1::LedgerEntry::MOVED);
    EXPECT_EQ(entry.category(), "session");
    EXPECT_EQ(entry.name(), "t");
    EXPECT_EQ(entry.reason(), "");
    sessions.push_back(entry.session());
  }
  return sessions;
}

TEST(MovedIdsTest, NeighboursAreOneRun) {
  EXPECT_THAT(Written({7, 5, 6, 10, 12, 11}).runs(), ElementsAre(5, 2, 3, 2));
  EXPECT_THAT(Written({1, 2}).runs(), ElementsAre(1, 1));
}

TEST(MovedIdsTest, WhatIsWrittenIsRead) {
  const uint64_t second = uint64_t{2} << 40;
  EXPECT_THAT(Read(Written({second, 3, second + 1, 1, second + 9})),
              ElementsAre(1, 3, second, second + 1, second + 9));
  EXPECT_THAT(Read(Written({kLastId, 1, kLastId - 1})),
              ElementsAre(1, kLastId - 1, kLastId));
}

TEST(MovedIdsTest, ASessionThatIsNamedTwiceMovedOnce) {
  EXPECT_THAT(Read(Written({4, 3, 4, 3})), ElementsAre(3, 4));
}

TEST(MovedIdsTest, EachTypeHasItsOwn) {
  MovedIds ids;
  for (uint64_t id = 1; id <= 6; ++id) ids.Add(id % 2 == 0 ? "b" : "a", id);
  v1::LedgerHandoff handoff;
  ids.MoveTo(handoff);
  ASSERT_EQ(handoff.moved_sessions_size(), 2);
  EXPECT_EQ(handoff.moved_sessions(0).type(), "a");
  EXPECT_THAT(handoff.moved_sessions(0).runs(), ElementsAre(1, 0, 2, 0, 2, 0));
  EXPECT_EQ(handoff.moved_sessions(1).type(), "b");
  ids.MoveTo(handoff);
  EXPECT_EQ(handoff.moved_sessions_size(), 2) << "none are left";
  ids.Add("a", 9);
  ids.MoveTo(handoff);
  EXPECT_THAT(handoff.moved_sessions(2).runs(), ElementsAre(9, 0));
}

TEST(CountMovedTest, CountsWithoutMakingThem) {
  EXPECT_THAT(CountMoved(Runs({})), Optional(0u));
  EXPECT_THAT(CountMoved(Runs({5, 2, 3, 2})), Optional(6u));
  EXPECT_THAT(CountMoved(Runs({1, uint64_t{1} << 60})),
              Optional((uint64_t{1} << 60) + 1));
  EXPECT_THAT(CountMoved(Runs({1, kLastId - 1})), Optional(kLastId));
}

TEST(CountMovedTest, RunsThatMakeNoSenseAreNone) {
  EXPECT_FALSE(CountMoved(Runs({1})).has_value()) << "half a run";
  EXPECT_FALSE(CountMoved(Runs({1, 2, 3})).has_value()) << "half a run";
  EXPECT_FALSE(CountMoved(Runs({0, 2})).has_value()) << "the id 0";
  EXPECT_FALSE(CountMoved(Runs({1, 2, 0, 1})).has_value()) << "one id twice";
  EXPECT_FALSE(CountMoved(Runs({2, kLastId - 1})).has_value()) << "overflow";
  EXPECT_FALSE(CountMoved(Runs({9, 0, kLastId - 8, 0})).has_value())
      << "overflow";
  EXPECT_FALSE(CountMoved(Runs({1, kLastId - 1, 1, 0})).has_value())
      << "above the last id there is";
}

TEST(KeepFirstTest, LeavesTheLowest) {
  const v1::MovedSessions all = Runs({5, 2, 3, 2});  // 5, 6, 7, 10, 11, 12
  for (uint64_t most = 0; most <= 7; ++most) {
    v1::MovedSessions some = all;
    KeepFirst(some, most);
    EXPECT_THAT(CountMoved(some), Optional(std::min<uint64_t>(most, 6)));
  }
  v1::MovedSessions four = all;
  KeepFirst(four, 4);
  EXPECT_THAT(Read(four), ElementsAre(5, 6, 7, 10));
  v1::MovedSessions huge = Runs({1, kLastId - 1});
  KeepFirst(huge, 2);
  EXPECT_THAT(Read(huge), ElementsAre(1, 2));
}

}  // namespace
}  // namespace handoff
