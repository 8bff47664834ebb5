#include "handoff/plain_text.h"

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

TEST(OnOneLineTest, EscapesWhatIsNotPrintable) {
  EXPECT_EQ(OnOneLine("plain, with 'quotes'"), "plain, with 'quotes'");
  EXPECT_EQ(OnOneLine("a\nb\r\x1b[31m\x7f"), "a\\x0ab\\x0d\\x1b[31m\\x7f");
  EXPECT_EQ(OnOneLine("a\\x0a"), "a\\\\x0a") << "must not look escaped";
  // C1 controls and marks that reverse the text are UTF-8 of several bytes.
  EXPECT_EQ(OnOneLine("\xc2\x9b"), "\\xc2\\x9b");
  EXPECT_EQ(OnOneLine(absl::string_view("\0", 1)), "\\x00");
}

TEST(WordTest, IsInQuotesUnlessItIsOnePlainWord) {
  EXPECT_EQ(Word("http"), "http");
  EXPECT_EQ(Word("two words"), "\"two words\"");
  EXPECT_EQ(Word("a,b"), "\"a,b\"") << "a comma ends a descriptor";
  EXPECT_EQ(Word("-"), "\"-\"") << "stands for nothing";
  EXPECT_EQ(Word(""), "\"\"");
  EXPECT_EQ(WordOrNothing(""), "-");
}

TEST(FormatAgeTest, CountsWholeSecondsAndFromADayOnHours) {
  EXPECT_EQ(FormatAge(absl::Milliseconds(999)), "0s");
  EXPECT_EQ(FormatAge(absl::Seconds(3723.5)), "1h2m3s");
  EXPECT_EQ(FormatAge(absl::Hours(51)), "2d3h");
}

}  // namespace
}  // namespace handoff
