#include "tools/load/message_check.h"

#include "gtest/gtest.h"
#include "tools/load/tally.h"

namespace handoff::load {
namespace {

ChatMessage Message(uint64_t seq, size_t member, uint64_t count) {
  return {seq, member, count, 1};
}

TEST(ParseChatMessageTest, ReadsWhatARoomIsTold) {
  const auto message = ParseChatMessage(
      "{\"room\":\"room-1\",\"seq\":7,\"name\":\"3\",\"text\":\"text 3 2\","
      "\"pid\":4711,\"label\":\"v1\"}");
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->seq, 7u);
  EXPECT_EQ(message->member, 3u);
  EXPECT_EQ(message->count, 2u);
  EXPECT_EQ(message->pid, 4711);
}

TEST(ParseChatMessageTest, RefusesAnythingElse) {
  for (const char* json : {"", "{}", "{\"error\":\"not understood\"}",
                           "{\"seq\":7,\"text\":\"text 3\",\"pid\":1}",
                           "{\"seq\":-7,\"text\":\"text 3 2\",\"pid\":1}",
                           "{\"seq\":7,\"text\":\"text 3 2\"}"}) {
    EXPECT_FALSE(ParseChatMessage(json).ok()) << json;
  }
}

TEST(MessageCheckTest, EachMessageOnceInOrderIsFine) {
  Tally tally;
  MessageCheck check(2, &tally);
  EXPECT_TRUE(check.Take(Message(1, 1, 1)).ok());
  EXPECT_TRUE(check.Take(Message(2, 2, 1)).ok());
  EXPECT_TRUE(check.Take(Message(3, 1, 2)).ok());
  check.Finish(3);
  EXPECT_EQ(tally.messages_ok, 3u);
  EXPECT_EQ(tally.messages_lost, 0u);
  EXPECT_EQ(tally.messages_doubled, 0u);
}

TEST(MessageCheckTest, AGapIsLost) {
  Tally tally;
  MessageCheck check(2, &tally);
  EXPECT_TRUE(check.Take(Message(1, 1, 1)).ok());
  EXPECT_TRUE(check.Take(Message(4, 2, 3)).ok());
  EXPECT_EQ(tally.messages_lost, 2u);
}

TEST(MessageCheckTest, WhatNeverCameIsLostInTheEnd) {
  Tally tally;
  MessageCheck check(1, &tally);
  EXPECT_TRUE(check.Take(Message(1, 1, 1)).ok());
  check.Finish(4);
  EXPECT_EQ(tally.messages_lost, 3u);
}

TEST(MessageCheckTest, ANumberOrATextThatComesAgainIsDoubled) {
  Tally tally;
  MessageCheck check(1, &tally);
  EXPECT_TRUE(check.Take(Message(1, 1, 1)).ok());
  EXPECT_TRUE(check.Take(Message(1, 1, 2)).ok());
  EXPECT_EQ(tally.messages_doubled, 1u);
  EXPECT_TRUE(check.Take(Message(2, 1, 1)).ok());
  EXPECT_EQ(tally.messages_doubled, 2u);
  EXPECT_EQ(tally.messages_ok, 1u);
}

TEST(MessageCheckTest, AnUnknownMemberIsNoMember) {
  Tally tally;
  MessageCheck check(2, &tally);
  EXPECT_FALSE(check.Take(Message(1, 0, 1)).ok());
  EXPECT_FALSE(check.Take(Message(1, 3, 1)).ok());
}

}  // namespace
}  // namespace handoff::load
