#include "handoff/ledger.h"

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

TEST(LedgerBookTest, BlackoutsGoToTheirHandoff) {
  LedgerBook book;
  book.Add(Handoff(1, 1, 0));
  book.Add(Handoff(2, 1, 0));
  book.AddBlackout(2, 10, 1.5);
  EXPECT_EQ(book.Get().handoffs(0).blackouts_size(), 0);
  ASSERT_EQ(book.Get().handoffs(1).blackouts_size(), 1);
  EXPECT_EQ(book.Get().handoffs(1).blackouts(0).sessions(), 10u);
  ASSERT_TRUE(book.Last().has_value());
  EXPECT_EQ(book.Last()->handoff_id(), 2u);
  EXPECT_EQ(book.Last()->entries_size(), 0);
  EXPECT_EQ(book.Last()->blackouts_size(), 1);
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
