#include "tools/load/report.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace handoff::load {
namespace {

Report Good() {
  Report report;
  report.handoffs_wanted = 1;
  report.handoffs.push_back({});
  report.kept = 7;
  report.tally.requests_ok = 1234567;
  report.tally.messages_ok = 8901;
  return report;
}

TEST(ReportTest, JsonIsOneLineWithEachFigure) {
  Report report = Good();
  report.lost = 1;
  report.mid_message = 5;
  report.blackout_p50 = 0.5;
  report.blackout_p99 = 1.25;
  report.blackout_max = 2;
  report.tally.requests_failed = 2;
  report.tally.messages_lost = 3;
  report.tally.messages_doubled = 4;
  report.tally.bytes_checked = 9;
  report.tally.longest_pace_gap = absl::Milliseconds(12.5);
  report.tally.longest_answer_wait = absl::Milliseconds(3);
  EXPECT_EQ(FormatJson(report),
            "{\"handoffs\": 1, \"requests_ok\": 1234567, "
            "\"requests_failed\": 2, \"messages_ok\": 8901, "
            "\"messages_lost\": 3, \"messages_doubled\": 4, "
            "\"connections_kept\": 7, "
            "\"connections_lost\": 1, \"mid_message\": 5, "
            "\"bytes_checked\": 9, \"blackout_ms\": {\"p50\": 0.500, "
            "\"p99\": 1.250, \"max\": 2.000}, \"longest_gap_ms\": 12.5}");
}

TEST(ReportTest, PassesOnlyIfNothingWentWrong) {
  EXPECT_TRUE(Good().Passed());
  Report report = Good();
  report.handoffs.clear();
  EXPECT_FALSE(report.Passed()) << "a handoff is missing";
  report = Good();
  report.lost = 1;
  EXPECT_FALSE(report.Passed()) << "a connection is lost";
  report = Good();
  report.kept = 0;
  EXPECT_FALSE(report.Passed()) << "nothing was kept";
  report = Good();
  report.tally.requests_failed = 1;
  EXPECT_FALSE(report.Passed()) << "a request has failed";
  report = Good();
  report.tally.messages_ok = 0;
  EXPECT_FALSE(report.Passed()) << "nobody has talked";
  report = Good();
  report.tally.messages_lost = 1;
  EXPECT_FALSE(report.Passed()) << "a message is lost";
  report = Good();
  report.tally.messages_doubled = 1;
  EXPECT_FALSE(report.Passed()) << "a message has come twice";
  report = Good();
  report.tally.AddProblem("a server exited with 1");
  EXPECT_FALSE(report.Passed()) << "there is a problem";
}

TEST(ReportTest, TableNamesTheProblemsThatFitAndCountsTheOthers) {
  Report report = Good();
  for (size_t i = 0; i < Tally::kMaxProblems + 3; ++i) {
    report.tally.AddProblem(absl::StrCat("broken ", i));
    report.tally.AddProblem("broken 0");
  }
  const std::string table = FormatTable(report);
  EXPECT_NE(table.find("1,234,567 ok"), std::string::npos) << table;
  EXPECT_NE(table.find("broken 0, 24 times\n"), std::string::npos) << table;
  EXPECT_NE(table.find("broken 19\n"), std::string::npos) << table;
  EXPECT_NE(table.find("and 3 more"), std::string::npos) << table;
}

}  // namespace
}  // namespace handoff::load
