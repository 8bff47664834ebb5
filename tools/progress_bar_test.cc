#include "tools/progress_bar.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const absl::Time kBegin = absl::FromUnixSeconds(1'700'000'000);

admin::v1::HandoffProgress Progress(const std::string& phase, int sent) {
  admin::v1::HandoffProgress progress;
  progress.set_handoff_id(77);
  progress.set_phase(phase);
  progress.set_sessions_sent(static_cast<uint64_t>(sent));
  progress.set_sessions_total(8000);
  return progress;
}

TEST(ProgressBarTest, WithoutATerminalThereIsALineForEachPhase) {
  ProgressBar bar;
  EXPECT_EQ(bar.Show(Progress("pre-copy", 0), 0, kBegin),
            "pre-copy, 0 of 8000 sessions\n");
  EXPECT_EQ(bar.Show(Progress("pre-copy", 4000), 0, kBegin), "");
  EXPECT_EQ(bar.Show(Progress("staging", 8000), 0, kBegin),
            "staging, 8000 of 8000 sessions\n");
  EXPECT_EQ(bar.End(kBegin), "");
}

TEST(ProgressBarTest, OnATerminalTheLineIsDrawnAgainUntilThePhaseEnds) {
  ProgressBar bar;
  const std::string first = bar.Show(Progress("pre-copy", 0), 80, kBegin);
  EXPECT_THAT(first, StartsWith("\r\x1b[Kpre-copy  [----"));
  const std::string half = bar.Show(Progress("pre-copy", 4000), 80,
                                    kBegin + absl::Milliseconds(1500));
  EXPECT_EQ(half, absl::StrCat("\r\x1b[Kpre-copy  [", std::string(15, '#'),
                               std::string(15, '-'),
                               "] 4000 of 8000 sessions 1.5 s"));
  const std::string next =
      bar.Show(Progress("staging", 8000), 80, kBegin + absl::Seconds(2));
  const std::vector<std::string> lines = absl::StrSplit(next, '\n');
  ASSERT_EQ(lines.size(), 2u) << next;
  EXPECT_THAT(lines[0], HasSubstr("8000 of 8000 sessions 2.0 s"));
  EXPECT_THAT(lines[1], HasSubstr("staging   [####"));
  EXPECT_THAT(lines[1], HasSubstr(" 0.0 s")) << "of this phase";
  EXPECT_THAT(bar.End(kBegin + absl::Seconds(3)), HasSubstr(" 1.0 s\n"));
  EXPECT_EQ(bar.End(kBegin), "") << "once";
}

admin::v1::Handoff Result(const std::string& result) {
  admin::v1::Handoff handoff;
  handoff.set_result(result);
  for (const char* name : {"pre-copy", "staging", "changes", "frozen"}) {
    admin::v1::Phase& phase = *handoff.add_phases();
    phase.set_name(name);
    phase.mutable_took()->set_nanos(2'000'000);
  }
  return handoff;
}

TEST(ProgressBarTest, APhaseThatWasNotSeenHasItsLineInItsPlace) {
  ProgressBar bar;
  EXPECT_EQ(bar.Show(Progress("staging", 0), 0, kBegin),
            "pre-copy, done\nstaging, 0 of 8000 sessions\n");
  EXPECT_EQ(bar.End(Result("committed"), 0, kBegin),
            "changes, done in 0.002 s\nfrozen, done in 0.002 s\n");
}

TEST(ProgressBarTest, ATerminalHasABarForEachPhaseHoweverShort) {
  const std::string full = "[" + std::string(30, '#') + "]";
  EXPECT_EQ(ProgressBar().End(Result("committed"), 80, kBegin),
            absl::StrCat("pre-copy  ", full, " 0.002 s\nstaging   ", full,
                         " 0.002 s\nchanges   ", full, " 0.002 s\nfrozen    ",
                         full, " 0.002 s\n"));
  ProgressBar bar;
  bar.Show(Progress("changes", 4000), 80, kBegin);
  EXPECT_EQ(bar.Show(Progress("watch", 8000), 80, kBegin), "");
  EXPECT_EQ(bar.End(Result("committed"), 80, kBegin + absl::Seconds(9)),
            absl::StrCat("\r\x1b[Kchanges   ", full,
                         " 8000 of 8000 sessions 0.0 s\nfrozen    ", full,
                         " 0.002 s\n"))
      << "it went on to its end, unseen";
}

TEST(ProgressBarTest, ThePhaseInWhichItWasAbortedIsNotShownAsDone) {
  EXPECT_EQ(ProgressBar().End(Result("aborted"), 0, kBegin),
            "pre-copy, done in 0.002 s\nstaging, done in 0.002 s\n"
            "changes, done in 0.002 s\n");
  EXPECT_THAT(ProgressBar().End(Result("passed"), 0, kBegin),
              StartsWith("rehearsal: pre-copy, done in 0.002 s\n"));
  ProgressBar bar;
  bar.Show(Progress("frozen", 4000), 80, kBegin);
  EXPECT_THAT(bar.End(Result("aborted"), 80, kBegin),
              HasSubstr("---] 4000 of 8000 sessions"));
  EXPECT_EQ(ProgressBar().End(admin::v1::Handoff(), 80, kBegin), "");
}

TEST(ProgressBarTest, NoLineIsAsWideAsTheTerminal) {
  for (size_t width = 1; width < 200; ++width) {
    ProgressBar bar;
    std::string text = bar.Show(Progress("pre-copy", 4000), width, kBegin);
    ASSERT_THAT(text, StartsWith("\r\x1b[K"));
    EXPECT_LT(text.size() - 4, width);
    text = ProgressBar().End(Result("passed"), width, kBegin);
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      EXPECT_LT(line.size(), width);
    }
  }
}

TEST(ProgressBarTest, WhatCannotBeIsShownAllTheSame) {
  ProgressBar bar;
  admin::v1::HandoffProgress progress = Progress("a\nb", 9000);
  EXPECT_THAT(bar.Show(progress, 80, kBegin),
              HasSubstr("\"a\\x0ab\"  [" + std::string(30, '#') + "]"));
  progress = Progress("frozen", 0);
  progress.set_sessions_total(0);
  EXPECT_THAT(bar.Show(progress, 80, kBegin), HasSubstr("0 of 0 sessions"));
  EXPECT_EQ(ProgressBar().End(kBegin), "") << "nothing was shown";
}

}  // namespace
}  // namespace handoff
