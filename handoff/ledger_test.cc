#include "handoff/ledger.h"

#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "handoff/moved_sessions.h"

namespace handoff {
namespace {

v1::LedgerHandoff Handoff(uint64_t id, int moved, int lost) {
  v1::LedgerHandoff handoff;
  handoff.set_handoff_id(id);
  for (int i = 0; i < moved + lost; ++i) {
    handoff.add_entries()->set_outcome(i < moved ? v1::LedgerEntry::MOVED
                                                 : v1::LedgerEntry::LOST);
  }
  return handoff;
}

// What the successor of `book` begins with.
v1::Ledger HandedOver(LedgerBook& book) {
  v1::Ledger ledger;
  EXPECT_TRUE(book.HandOver().UnpackTo(&ledger));
  return ledger;
}

void AddMoved(v1::LedgerHandoff& handoff, uint64_t first, uint64_t count,
              uint64_t step = 1) {
  MovedIds moved;
  for (uint64_t i = 0; i < count; ++i) moved.Add("chat", first + i * step);
  moved.MoveTo(handoff);
}

void AddRuns(v1::LedgerHandoff& handoff, std::string type,
             std::initializer_list<uint64_t> runs) {
  v1::MovedSessions& moved = *handoff.add_moved_sessions();
  moved.set_type(std::move(type));
  for (const uint64_t number : runs) moved.add_runs(number);
}

TEST(LedgerBookTest, CountsEntriesByOutcome) {
  LedgerBook book;
  book.Add(Handoff(7, 3, 2));
  const v1::Ledger ledger = book.Get();
  ASSERT_EQ(ledger.handoffs_size(), 1);
  EXPECT_EQ(ledger.handoffs(0).moved(), 3u);
  EXPECT_EQ(ledger.handoffs(0).lost(), 2u);
  EXPECT_EQ(ledger.handoffs(0).kept(), 0u);
}

TEST(LedgerBookTest, AHandoffThatIsAddedAgainReplacesItself) {
  LedgerBook book;
  book.Add(Handoff(7, 3, 0));
  book.Add(Handoff(7, 0, 3));
  ASSERT_EQ(book.Get().handoffs_size(), 1);
  EXPECT_EQ(book.Get().handoffs(0).lost(), 3u);
}

TEST(LedgerBookTest, OldHandoffsLoseTheirEntriesThenGo) {
  LedgerBook book;
  const int many = static_cast<int>(LedgerBook::kMaxEntries) / 4;
  for (uint64_t id = 1; id <= LedgerBook::kMaxHandoffs + 3; ++id) {
    book.Add(Handoff(id, many, 0));
  }
  const v1::Ledger ledger = book.Get();
  ASSERT_EQ(ledger.handoffs_size(), LedgerBook::kMaxHandoffs);
  EXPECT_EQ(ledger.handoffs(0).handoff_id(), 4u) << "the oldest three are gone";
  EXPECT_EQ(ledger.handoffs(0).entries_size(), 0);
  EXPECT_EQ(ledger.handoffs(0).moved(), static_cast<uint64_t>(many))
      << "counts stay without the entries";
  EXPECT_EQ(ledger.handoffs(LedgerBook::kMaxHandoffs - 1).entries_size(), many);
}

TEST(LedgerBookTest, TheLastHandoffKeepsAsManyEntriesAsThereIsRoomFor) {
  LedgerBook book;
  const int many = static_cast<int>(LedgerBook::kMaxEntries);
  book.Add(Handoff(1, many + 5, 0));
  EXPECT_EQ(book.Get().handoffs(0).entries_size(), many);
  EXPECT_EQ(book.Get().handoffs(0).moved(), static_cast<uint64_t>(many) + 5);
}

// One of each outcome but lost, as sessions 1 to 5.
v1::LedgerHandoff OneOfEach(uint64_t id) {
  v1::LedgerHandoff handoff;
  handoff.set_handoff_id(id);
  AddEntry(handoff, v1::LedgerEntry::MOVED, "session", "t", 1, "");
  AddEntry(handoff, v1::LedgerEntry::KEPT, "session", "t", 2, "tls");
  AddEntry(handoff, v1::LedgerEntry::REFUSED, "session", "t", 3, "");
  AddEntry(handoff, v1::LedgerEntry::KEPT, "session", "t", 4, "tls");
  AddEntry(handoff, v1::LedgerEntry::CLOSED, "session", "t", 5, "gone");
  AddEntry(handoff, v1::LedgerEntry::REFUSED, "listener", "l", 0, "unclaimed");
  return handoff;
}

v1::DrainedSessions Drained(uint64_t id, std::vector<uint64_t> ended,
                            std::vector<uint64_t> cut_off) {
  v1::DrainedSessions drained;
  drained.set_handoff_id(id);
  for (const uint64_t session : ended) drained.add_ended(session);
  for (const uint64_t session : cut_off) drained.add_cut_off(session);
  return drained;
}

TEST(LedgerBookTest, OnlyWhatWasKeptOrRefusedIsDrained) {
  LedgerBook book;
  book.Add(OneOfEach(6));
  book.Add(OneOfEach(7));
  book.Amend(Drained(7, {0, 1, 2, 3, 99}, {4, 5}));
  book.Amend(Drained(8, {2}, {}));
  const v1::Ledger ledger = book.Get();
  EXPECT_EQ(ledger.handoffs(0).drained(), 0u) << "another handoff";
  const v1::LedgerHandoff& handoff = ledger.handoffs(1);
  EXPECT_EQ(handoff.entries(0).outcome(), v1::LedgerEntry::MOVED);
  EXPECT_EQ(handoff.entries(1).outcome(), v1::LedgerEntry::DRAINED);
  EXPECT_EQ(handoff.entries(1).reason(), "tls; ended");
  EXPECT_EQ(handoff.entries(2).outcome(), v1::LedgerEntry::DRAINED);
  EXPECT_EQ(handoff.entries(2).reason(), "ended");
  EXPECT_EQ(handoff.entries(3).reason(), "tls; cut off at the end of the process");
  EXPECT_EQ(handoff.entries(4).outcome(), v1::LedgerEntry::CLOSED);
  EXPECT_EQ(handoff.entries(5).outcome(), v1::LedgerEntry::REFUSED)
      << "a listener is no session";
  EXPECT_EQ(handoff.drained(), 3u);
  EXPECT_EQ(handoff.kept(), 0u);
  EXPECT_EQ(handoff.refused(), 1u);
  EXPECT_EQ(handoff.moved(), 1u);
}

TEST(LedgerBookTest, NewsThatComesTwiceChangesNothing) {
  LedgerBook book;
  book.Add(OneOfEach(7));
  book.Amend(Drained(7, {2}, {}));
  book.Amend(Drained(7, {}, {2}));
  EXPECT_EQ(book.Get().handoffs(0).entries(1).reason(), "tls; ended");
  EXPECT_EQ(book.Get().handoffs(0).drained(), 1u);
}

TEST(LedgerBookTest, NewsSinceTheLedgerWasHandedOverIsToBePassedOn) {
  LedgerBook book;
  book.Add(OneOfEach(7));
  book.Amend(Drained(7, {2}, {}));
  EXPECT_EQ(HandedOver(book).handoffs(0).drained(), 1u);
  EXPECT_TRUE(book.TakeAmendments().empty()) << "it was handed over";
  book.Amend(Drained(7, {1, 2, 3}, {4, 5}));
  std::vector<v1::DrainedSessions> parts = book.TakeAmendments();
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].handoff_id(), 7u);
  ASSERT_EQ(parts[0].ended_size(), 1) << "what was said before";
  EXPECT_EQ(parts[0].ended(0), 3u);
  EXPECT_EQ(parts[1].handoff_id(), 7u);
  ASSERT_EQ(parts[1].cut_off_size(), 1);
  EXPECT_EQ(parts[1].cut_off(0), 4u);
  EXPECT_TRUE(book.TakeAmendments().empty()) << "taken";
}

TEST(SplitDrainedTest, EachPartFitsIntoAFrame) {
  std::vector<uint64_t> many(100'000);
  for (size_t i = 0; i < many.size(); ++i) many[i] = (uint64_t{1} << 40) + i;
  std::vector<v1::DrainedSessions> parts;
  SplitDrained(Drained(7, many, many), parts);
  size_t sessions = 0;
  for (const v1::DrainedSessions& part : parts) {
    EXPECT_EQ(part.handoff_id(), 7u);
    EXPECT_LE(part.ByteSizeLong(), 48u * 1024);
    sessions += static_cast<size_t>(part.ended_size() + part.cut_off_size());
  }
  EXPECT_EQ(sessions, 2 * many.size());
}

TEST(LedgerBookTest, BlackoutsGoToTheirHandoff) {
  LedgerBook book;
  book.Add(Handoff(1, 1, 0));
  v1::LedgerHandoff second = Handoff(2, 1, 0);
  second.add_phases()->set_name("pre-copy");
  book.Add(second);
  book.AddBlackout(2, 10, 1.5);
  EXPECT_EQ(book.Get().handoffs(0).blackouts_size(), 0);
  ASSERT_EQ(book.Get().handoffs(1).blackouts_size(), 1);
  EXPECT_EQ(book.Get().handoffs(1).blackouts(0).sessions(), 10u);
  ASSERT_TRUE(book.Last().has_value());
  EXPECT_EQ(book.Last()->handoff_id(), 2u);
  EXPECT_EQ(book.Last()->entries_size(), 0);
  EXPECT_EQ(book.Last()->blackouts_size(), 1);
  EXPECT_EQ(book.Last()->phases_size(), 1);
  const v1::Ledger summaries = book.Summaries();
  ASSERT_EQ(summaries.handoffs_size(), 2);
  EXPECT_EQ(summaries.handoffs(0).moved(), 1u);
  EXPECT_EQ(summaries.handoffs(0).entries_size(), 0);
  EXPECT_EQ(summaries.handoffs(1).blackouts_size(), 1);
}

TEST(LedgerBookTest, InheritsWhatThePredecessorHad) {
  LedgerBook before;
  before.Add(Handoff(1, 1, 0));
  LedgerBook after;
  EXPECT_FALSE(after.Last().has_value());
  after.Inherit(before.Get());
  after.Add(Handoff(2, 1, 0));
  EXPECT_EQ(after.Get().handoffs_size(), 2);
}

TEST(LedgerBookTest, ReadersGetAnEntryForEachSessionThatMoved) {
  v1::LedgerHandoff handoff = Handoff(7, 1, 1);
  AddMoved(handoff, 5, 3);
  LedgerBook book;
  book.Add(std::move(handoff));
  EXPECT_EQ(HandedOver(book).handoffs(0).entries_size(), 2);
  const v1::LedgerHandoff read = book.Get().handoffs(0);
  EXPECT_EQ(read.moved(), 4u);
  EXPECT_EQ(read.lost(), 1u);
  EXPECT_EQ(read.moved_sessions_size(), 0);
  ASSERT_EQ(read.entries_size(), 5);
  for (int i = 2; i < 5; ++i) {
    EXPECT_EQ(read.entries(i).outcome(), v1::LedgerEntry::MOVED);
    EXPECT_EQ(read.entries(i).category(), "session");
    EXPECT_EQ(read.entries(i).name(), "chat");
    EXPECT_EQ(read.entries(i).session(), static_cast<uint64_t>(i) + 3);
    EXPECT_EQ(read.entries(i).reason(), "");
  }
}

TEST(LedgerBookTest, ASuccessorShowsWhatItsPredecessorDid) {
  LedgerBook before;
  v1::LedgerHandoff handoff = OneOfEach(7);
  AddMoved(handoff, (uint64_t{3} << 40) + 1, 1000);
  AddMoved(handoff, (uint64_t{4} << 40) + 2, 10, 3);
  before.Add(std::move(handoff));
  LedgerBook after;
  after.Inherit(HandedOver(before));
  EXPECT_EQ(after.Get().SerializeAsString(), before.Get().SerializeAsString());
  EXPECT_EQ(after.Get().handoffs(0).entries_size(), 6 + 1000 + 10);
}

TEST(LedgerBookTest, WhatWasWrittenDownAsEntriesIsReadAsEntries) {
  v1::Ledger ledger;
  v1::LedgerHandoff& handoff = *ledger.add_handoffs() = OneOfEach(7);
  for (uint64_t id = 10; id < 20; ++id) {
    AddEntry(handoff, v1::LedgerEntry::MOVED, "session", "chat", id, "");
  }
  CountEntries(handoff);
  LedgerBook book;
  book.Inherit(ledger);
  EXPECT_EQ(book.Get().SerializeAsString(), ledger.SerializeAsString());
  book.Amend(Drained(7, {2, 10}, {}));
  EXPECT_EQ(book.Get().handoffs(0).drained(), 1u);
  EXPECT_EQ(book.Get().handoffs(0).moved(), 11u);
}

TEST(LedgerBookTest, DrainedSessionsAreFoundBesideThoseThatMoved) {
  v1::LedgerHandoff handoff = OneOfEach(7);
  AddMoved(handoff, 100, 16'000);
  LedgerBook before;
  before.Add(std::move(handoff));
  LedgerBook book;
  book.Inherit(HandedOver(before));
  book.Amend(Drained(7, {2, 100, 101}, {4, 16'099}));
  const v1::LedgerHandoff read = book.Get().handoffs(0);
  EXPECT_EQ(read.drained(), 2u);
  EXPECT_EQ(read.moved(), 16'001u) << "what moved is not here to be drained";
  EXPECT_EQ(read.entries(1).reason(), "tls; ended");
  EXPECT_EQ(read.entries(3).reason(), "tls; cut off at the end of the process");
  const auto parts = book.TakeAmendments();
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].ended_size(), 1);
  EXPECT_EQ(parts[1].cut_off_size(), 1);
}

TEST(LedgerBookTest, TheLimitIsForEntriesAndSessionsThatMovedTogether) {
  LedgerBook book;
  v1::LedgerHandoff old = Handoff(1, 10, 0);
  AddMoved(old, 1, 10);
  book.Add(old);
  v1::LedgerHandoff last = Handoff(2, 0, 5);
  AddMoved(last, 1, LedgerBook::kMaxEntries - 20, 2);
  book.Add(last);
  v1::Ledger ledger = book.Get();
  EXPECT_EQ(ledger.handoffs(0).entries_size(), 0) << "15 have room, not 20";
  EXPECT_EQ(ledger.handoffs(0).moved(), 20u);
  EXPECT_EQ(ledger.handoffs(1).entries_size(),
            static_cast<int>(LedgerBook::kMaxEntries) - 15);

  // More than there is room for: what did not move is there in any case.
  v1::LedgerHandoff great = Handoff(3, 0, 5);
  AddMoved(great, 1, LedgerBook::kMaxEntries + 7);
  book.Add(great);
  ledger = book.Get();
  EXPECT_EQ(ledger.handoffs(1).entries_size(), 0);
  ASSERT_EQ(ledger.handoffs(2).entries_size(),
            static_cast<int>(LedgerBook::kMaxEntries));
  EXPECT_EQ(ledger.handoffs(2).lost(), 5u);
  EXPECT_EQ(ledger.handoffs(2).entries(4).outcome(), v1::LedgerEntry::LOST);
  EXPECT_EQ(ledger.handoffs(2).moved(), LedgerBook::kMaxEntries + 7u);
}

TEST(LedgerBookTest, WhatIsHandedOverIsSmallHoweverManyMoved) {
  LedgerBook dense;
  LedgerBook scattered;
  for (uint64_t id = 1; id <= LedgerBook::kMaxHandoffs; ++id) {
    v1::LedgerHandoff handoff = OneOfEach(id);
    AddMoved(handoff, (id << 40) + 1, 16'000);
    dense.Add(handoff);
    handoff = OneOfEach(id);
    AddMoved(handoff, (id << 40) + 1, 16'000, 100);
    scattered.Add(handoff);
  }
  const size_t kept = LedgerBook::kMaxEntries / 16'006;
  const v1::Ledger ledger = dense.Get();
  EXPECT_EQ(ledger.handoffs(LedgerBook::kMaxHandoffs - kept).entries_size(),
            16'006);
  EXPECT_EQ(ledger.handoffs(0).moved(), 16'001u);
  EXPECT_LE(dense.HandOver().ByteSizeLong(), 8u * 1024)
      << "which is mostly what did not move";
  EXPECT_LE(scattered.HandOver().ByteSizeLong(), kept * 16'000 * 2 + 8 * 1024)
      << "two bytes for each that has no neighbour";
}

TEST(LedgerBookTest, RunsThatMakeNoSenseAreLeftOut) {
  constexpr uint64_t kLastId = std::numeric_limits<uint64_t>::max();
  v1::Ledger ledger;
  v1::LedgerHandoff& handoff = *ledger.add_handoffs() = OneOfEach(7);
  AddRuns(handoff, "chat", {});
  AddRuns(handoff, "chat", {1});
  AddRuns(handoff, "chat", {0, 5});
  AddRuns(handoff, "chat", {1, kLastId});
  AddRuns(handoff, "chat", {5, 2, kLastId, 0});
  AddRuns(handoff, "", {1, 5});
  AddRuns(handoff, "new\nline", {1, 5});
  // A name that long, for each of 100,000 sessions, would be 100 GB of entries.
  AddRuns(handoff, std::string(1 << 20, 'x'), {1, 99'999});
  AddRuns(handoff, "chat", {5, 2});
  LedgerBook book;
  book.Inherit(ledger);
  EXPECT_EQ(HandedOver(book).handoffs(0).moved_sessions_size(), 1);
  const v1::LedgerHandoff read = book.Get().handoffs(0);
  ASSERT_EQ(read.entries_size(), 6 + 3);
  EXPECT_EQ(read.entries(6).session(), 5u);
  EXPECT_EQ(read.entries(8).session(), 7u);
}

TEST(LedgerBookTest, RunsThatClaimMoreThanThereIsRoomForAreCut) {
  constexpr uint64_t kLastId = std::numeric_limits<uint64_t>::max();
  v1::Ledger ledger;
  for (uint64_t id = 1; id <= 2; ++id) {
    v1::LedgerHandoff& handoff = *ledger.add_handoffs() = OneOfEach(id);
    AddRuns(handoff, "chat", {1, 2});
    AddRuns(handoff, "chat", {1, uint64_t{1} << 60});
    for (int i = 0; i < 5; ++i) AddRuns(handoff, "chat", {1, kLastId - 1});
  }
  LedgerBook book;
  book.Inherit(ledger);
  const v1::Ledger read = book.Get();
  EXPECT_EQ(read.handoffs(0).entries_size(), 0);
  EXPECT_EQ(read.handoffs(1).entries_size(),
            static_cast<int>(LedgerBook::kMaxEntries));
  const v1::Ledger kept = HandedOver(book);
  EXPECT_EQ(kept.handoffs(0).moved_sessions_size(), 0);
  ASSERT_EQ(kept.handoffs(1).moved_sessions_size(), 2);
  EXPECT_EQ(CountMoved(kept.handoffs(1).moved_sessions(1)),
            LedgerBook::kMaxEntries - 6 - 3);
}

}  // namespace
}  // namespace handoff
