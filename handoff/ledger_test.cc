#include "handoff/ledger.h"

#include <vector>

#include "gtest/gtest.h"

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
  EXPECT_EQ(book.HandOver().handoffs(0).drained(), 1u);
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

}  // namespace
}  // namespace handoff
