#include "tools/load/whoami.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace handoff::load {
namespace {

TEST(ParseWhoamiTest, ReadsNumbersWithOrWithoutQuotesAndSpace) {
  for (const absl::string_view json :
       {"{\"pid\": 12, \"label\": \"x\", \"id\": 18446744073709551615, "
        "\"requests\": 3, \"handoffs\": 2}\n",
        "{\"handoffs\":2,\"requests\":\"3\",\"id\":\"18446744073709551615\","
        "\"pid\":12}"}) {
    const absl::StatusOr<WhoamiAnswer> answer = ParseWhoami(json);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->pid, 12);
    EXPECT_EQ(answer->id, "18446744073709551615");
    EXPECT_EQ(answer->requests, 3U);
    EXPECT_EQ(answer->handoffs, 2U);
  }
}

TEST(ParseWhoamiTest, RefusesWhatLacksAMember) {
  for (const absl::string_view json :
       {"", "{}", "{\"pid\": 12, \"id\": 1, \"requests\": 3}",
        "{\"pid\": 12, \"id\": 1, \"requests\": 3, \"handoffs\": 2!",
        "{\"pid\": 12, \"id\": , \"requests\": 3, \"handoffs\": 2}"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseWhoami(json).status())) << json;
  }
}

TEST(GenerationsTest, CountsThoseThatWereConfirmed) {
  Generations generations;
  generations.Expect(10);
  ASSERT_TRUE(generations.Confirm(10).ok());
  generations.Expect(20);
  EXPECT_EQ(generations.current_pid(), 10);
  // It may answer before its line has been read.
  EXPECT_EQ(*generations.Index(20), 1U);
  ASSERT_TRUE(generations.Confirm(20).ok());
  EXPECT_EQ(generations.current(), 1U);
  EXPECT_EQ(*generations.Index(10), 0U);
  EXPECT_EQ(*generations.Index(20), 1U);
}

TEST(GenerationsTest, OneThatIsNotExpectedMustNotAnswer) {
  Generations generations;
  generations.Expect(10);
  ASSERT_TRUE(generations.Confirm(10).ok());
  EXPECT_TRUE(absl::IsNotFound(generations.Index(20).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(generations.Confirm(20)));
  generations.Expect(20);
  EXPECT_TRUE(absl::IsNotFound(generations.Index(30).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(generations.Confirm(30)));
  generations.Withdraw();
  EXPECT_TRUE(absl::IsNotFound(generations.Index(20).status()));
}

TEST(GenerationsTest, OneOfUnknownPidIsTheFirstThatAnswers) {
  Generations generations;
  generations.Expect(10);
  ASSERT_TRUE(generations.Confirm(10).ok());
  generations.Expect(0);
  EXPECT_EQ(*generations.Index(20), 1U);
  EXPECT_TRUE(absl::IsNotFound(generations.Index(30).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(generations.Confirm(30)));
  EXPECT_TRUE(generations.Confirm(20).ok());
}

}  // namespace
}  // namespace handoff::load
