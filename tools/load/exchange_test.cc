#include "tools/load/exchange.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "tools/load/pattern.h"

namespace handoff::load {
namespace {

std::string Answer(absl::string_view body, absl::string_view fields = "") {
  return absl::StrCat("HTTP/1.1 200 OK\r\n", fields,
                      "Content-Length: ", body.size(), "\r\n\r\n", body);
}

absl::Status Check(const Exchange& exchange, absl::string_view answer) {
  AnswerChecker checker(exchange);
  return checker.Consume(answer);
}

TEST(PatternTest, IsWhatTheServersStreamIsSpecifiedToBe) {
  const std::string pattern = Pattern(1'000'000'000'000, 3);
  for (uint64_t i = 0; i < 3; ++i) {
    const uint64_t n = 1'000'000'000'000 + i;
    EXPECT_EQ(static_cast<uint8_t>(pattern[i]), (n * 2654435761 >> 13) & 0xff);
  }
  EXPECT_EQ(FirstMismatch(pattern, 1'000'000'000'000), absl::string_view::npos);
  EXPECT_EQ(FirstMismatch(pattern + "?", 1'000'000'000'000), 3U);
}

TEST(PatternTest, AnotherOffsetIsAnotherText) {
  // A byte that is missing or doubled shifts the rest by one.
  EXPECT_NE(FirstMismatch(Pattern(8, 100), 7), absl::string_view::npos);
  EXPECT_NE(FirstMismatch(Pattern(7, 100), 8), absl::string_view::npos);
}

TEST(EchoTest, ChunksHoldTheSameBodyAsALength) {
  const Exchange whole = Echo(17, 2000, false);
  const Exchange chunked = Echo(17, 2000, true);
  EXPECT_TRUE(absl::EndsWith(whole.request, Pattern(17, 2000)));
  EXPECT_TRUE(absl::StrContains(whole.request, "Content-Length: 2000\r\n"));
  // The body of a chunked request reads like that of a response.
  const size_t head = chunked.request.find("\r\n\r\n") + 4;
  const absl::Status checked =
      Check(chunked, absl::StrCat("HTTP/1.1 200 OK\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n",
                                  chunked.request.substr(head)));
  EXPECT_TRUE(checked.ok()) << checked;
}

TEST(AnswerCheckerTest, CountsWhatItHasChecked) {
  const Exchange exchange = Stream(1000, 100);
  AnswerChecker checker(exchange);
  const std::string answer = Answer(Pattern(0, 1000));
  for (const char& byte : answer) {
    EXPECT_FALSE(checker.done());
    const absl::Status checked = checker.Consume({&byte, 1});
    ASSERT_TRUE(checked.ok()) << checked;
  }
  EXPECT_TRUE(checker.done());
  EXPECT_EQ(checker.checked(), 1000U);
}

TEST(AnswerCheckerTest, NoticesEachWrongByte) {
  const Exchange exchange = Echo(99, 50, false);
  for (size_t i = 0; i < 50; ++i) {
    std::string body = Pattern(99, 50);
    body[i] ^= 1;
    const absl::Status checked = Check(exchange, Answer(body));
    EXPECT_TRUE(absl::IsDataLoss(checked)) << checked;
    EXPECT_EQ(checked.message(),
              absl::StrCat("byte ", i, " of the body is wrong"));
  }
}

TEST(AnswerCheckerTest, NoticesABodyOfAnotherLength) {
  const Exchange exchange = Echo(99, 50, false);
  EXPECT_TRUE(absl::IsDataLoss(Check(exchange, Answer(Pattern(99, 49)))));
  EXPECT_TRUE(absl::IsDataLoss(Check(exchange, Answer(Pattern(99, 51)))));
  EXPECT_TRUE(absl::IsDataLoss(Check(exchange, Answer(""))));
}

TEST(AnswerCheckerTest, ChecksATextAndTheClose) {
  constexpr absl::string_view kClose = "Connection: close\r\n";
  const Exchange exchange = HealthOnce();
  EXPECT_TRUE(Check(exchange, Answer("ok", kClose)).ok());
  EXPECT_TRUE(absl::IsDataLoss(Check(exchange, Answer("ok"))));
  EXPECT_TRUE(absl::IsDataLoss(Check(exchange, Answer("no", kClose))));
  EXPECT_TRUE(absl::IsDataLoss(Check(exchange, Answer("o", kClose))));
  EXPECT_TRUE(absl::IsDataLoss(Check(exchange, Answer("ok\n", kClose))));
}

TEST(AnswerCheckerTest, KeepsAShortTextAndRefusesALongOne) {
  const Exchange exchange = Whoami();
  AnswerChecker checker(exchange);
  ASSERT_TRUE(checker.Consume(Answer("{\"pid\": 1}")).ok());
  EXPECT_EQ(checker.text(), "{\"pid\": 1}");
  EXPECT_TRUE(absl::IsDataLoss(
      Check(exchange, Answer(std::string(AnswerChecker::kMaxText + 1, 'x')))));
}

TEST(AnswerCheckerTest, SaysWhatAnErrorAnswerSays) {
  const absl::Status checked = Check(
      Stream(10, 10), "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
  EXPECT_TRUE(absl::IsFailedPrecondition(checked));
  EXPECT_EQ(checked.message(), "status 503 busy");
}

}  // namespace
}  // namespace handoff::load
