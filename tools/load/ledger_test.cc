#include "tools/load/ledger.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace handoff::load {
namespace {

TEST(ParseLedgerTest, SumsTheCommittedHandoffs) {
  const absl::StatusOr<LedgerSummary> summary = ParseLedger(R"({
    "handoffs": [
      {"handoffId": "17", "result": "committed", "moved": "40", "lost": "1",
       "blackouts": [{"sessions": "30", "milliseconds": 1.5},
                     {"sessions": "10", "milliseconds": 2}]},
      {"result": "aborted", "blackouts": [{"sessions": "9"}], "new": 1}],
    "last": true})");
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->committed, 1U);
  EXPECT_EQ(summary->aborted, 1U);
  EXPECT_EQ(summary->moved, 40U);
  EXPECT_EQ(summary->lost, 1U);
  ASSERT_EQ(summary->blackouts.size(), 2U);
  EXPECT_EQ(summary->blackouts[0].sessions, 30U);
  EXPECT_EQ(summary->blackouts[0].milliseconds, 1.5);
}

TEST(ParseLedgerTest, RefusesWhatIsNoReply) {
  EXPECT_TRUE(absl::IsInvalidArgument(ParseLedger("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseLedger("no").status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ParseLedger("{\"handoffs\": 1}").status()));
}

TEST(BlackoutQuantileTest, CountsSessionsNotGroups) {
  // 98 sessions at 1 ms, one at 5, one at 9.
  const std::vector<BlackoutSample> samples = {{9, 1}, {1, 90}, {5, 1}, {1, 8}};
  EXPECT_EQ(BlackoutQuantile(samples, 0), 1);
  EXPECT_EQ(BlackoutQuantile(samples, 0.5), 1);
  EXPECT_EQ(BlackoutQuantile(samples, 0.98), 1);
  EXPECT_EQ(BlackoutQuantile(samples, 0.99), 5);
  EXPECT_EQ(BlackoutQuantile(samples, 1), 9);
}

TEST(BlackoutQuantileTest, AGroupWithoutSessionsHasNoSay) {
  EXPECT_EQ(BlackoutQuantile({{7, 0}, {8, 5}}, 0), 8);
  EXPECT_EQ(BlackoutQuantile({{7, 0}}, 0.5), 0);
  EXPECT_EQ(BlackoutQuantile({}, 0.5), 0);
}

}  // namespace
}  // namespace handoff::load
