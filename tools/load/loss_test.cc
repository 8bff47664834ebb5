#include "tools/load/loss.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tools/load/event_loop.h"

namespace handoff::load {
namespace {

constexpr uint64_t kThirdGeneration = uint64_t{3} << 40;

// A ledger with one handoff, from process 10 to process 20, the third's.
std::string Ledger(const std::string& result) {
  return absl::StrCat(
      R"({"handoffs":[{"result":")", result,
      R"(","predecessor_pid":"10","successor_pid":"20","generation":"3",)",
      R"("entries":[{"outcome":"LOST","category":"session","session":"7"},)",
      R"({"outcome":"MOVED","category":"session","session":"8"}]}]})");
}

class AccountsTest : public testing::Test {
 protected:
  Killing Of(bool successor) const { return {10, 20, successor, now_}; }
  SoakClients::Loss Lost(uint64_t session) const {
    return {now_ - absl::Seconds(1), session, /*refused=*/false, ""};
  }

  const absl::Time now_ = MonotonicNow();
  Accounts accounts_;
};

TEST_F(AccountsTest, WithoutAKillNothingMayBeLost) {
  EXPECT_FALSE(accounts_.Excuse(Lost(7)));
  EXPECT_FALSE(accounts_.Excuse(Lost(0)));
}

TEST_F(AccountsTest, OfASuccessorWhatTheLedgerNamesAndWhatItHadAccepted) {
  ASSERT_TRUE(accounts_.Add(Ledger("committed"), Of(true)).ok());
  EXPECT_TRUE(accounts_.Excuse(Lost(7)));
  EXPECT_FALSE(accounts_.Excuse(Lost(8)));
  EXPECT_FALSE(accounts_.Excuse(Lost(9)));
  EXPECT_TRUE(accounts_.Excuse(Lost(kThirdGeneration + 1)));
  EXPECT_TRUE(accounts_.Excuse(Lost(0)));
  SoakClients::Loss later = Lost(0);
  later.opened = now_ + absl::Seconds(1);
  EXPECT_FALSE(accounts_.Excuse(later));
}

TEST_F(AccountsTest, OfASuccessorThatHadNotCommittedNothing) {
  ASSERT_TRUE(accounts_.Add(Ledger("aborted"), Of(true)).ok());
  EXPECT_FALSE(accounts_.Excuse(Lost(7)));
  EXPECT_FALSE(accounts_.Excuse(Lost(kThirdGeneration + 1)));
  EXPECT_FALSE(accounts_.Excuse(Lost(0)));
}

TEST_F(AccountsTest, OfAPredecessorWhatTheLedgerNamesAndWhatItHadNotSent) {
  ASSERT_TRUE(accounts_.Add(Ledger("committed"), Of(false)).ok());
  EXPECT_TRUE(accounts_.Excuse(Lost(7)));
  EXPECT_FALSE(accounts_.Excuse(Lost(8)));
  EXPECT_TRUE(accounts_.Excuse(Lost(9)));
  SoakClients::Loss refused = Lost(0);
  refused.refused = true;
  EXPECT_FALSE(accounts_.Excuse(refused)) << "the listener had travelled";
}

TEST_F(AccountsTest, WithAPredecessorThatHadSentNothingEverything) {
  ASSERT_TRUE(accounts_.Add(R"({"handoffs":[]})", Of(false)).ok());
  SoakClients::Loss refused = Lost(0);
  refused.refused = true;
  EXPECT_TRUE(accounts_.Excuse(refused));
  EXPECT_TRUE(accounts_.Excuse(Lost(8)));
  SoakClients::Loss later = Lost(8);
  later.opened = MonotonicNow() + absl::Seconds(1);
  EXPECT_FALSE(accounts_.Excuse(later));
}

TEST_F(AccountsTest, ALateLossIsStillExcusedAfterTheNextKill) {
  ASSERT_TRUE(accounts_.Add(Ledger("committed"), Of(true)).ok());
  ASSERT_TRUE(accounts_.Add(R"({"handoffs":[]})", Of(true)).ok());
  EXPECT_TRUE(accounts_.Excuse(Lost(7)));
}

TEST_F(AccountsTest, WhatIsNoLedgerIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(accounts_.Add("no", Of(true))));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseStatus("{").status()));
}

TEST(ParseStatusTest, ReadsWhoServes) {
  const auto status =
      ParseStatus(R"({"status":{"pid":"12","state":"serving","x":1}})");
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->pid, 12);
  EXPECT_EQ(status->state, "serving");
}

}  // namespace
}  // namespace handoff::load
