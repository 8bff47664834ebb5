#include "handoff/protocol/outbox.h"

#include <string>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/protocol/frame.h"

namespace handoff {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

absl::Time After(int seconds) { return kStart + absl::Seconds(seconds); }

// The batch is known by the id of the session that it closes; a descriptor
// that is not open is enough to count.
OutgoingFrame Batch(uint64_t id, size_t descriptors = 0) {
  OutgoingFrame out;
  out.frame.mutable_sessions()->add_closed(id);
  out.descriptors.resize(descriptors);
  return out;
}

OutgoingFrame Note() {
  OutgoingFrame out;
  out.frame.mutable_pre_copied();
  return out;
}

// Sends as much as the outbox lets go, with the next sequence numbers. Gives
// the ids of batches and "note" for others.
std::string SendAll(Outbox& outbox, uint64_t& seq, absl::Time now = kStart) {
  std::string sent;
  while (OutgoingFrame* next = outbox.Next()) {
    next->frame.set_seq(++seq);
    sent += IsBatch(next->frame)
                ? std::to_string(next->frame.sessions().closed(0)) + " "
                : "note ";
    outbox.Sent(now);
  }
  return sent;
}

TEST(OutboxTest, FramesLeaveInTheOrderInWhichTheyCame) {
  Outbox outbox(10, 10);
  uint64_t seq = 0;
  EXPECT_EQ(outbox.Next(), nullptr);
  EXPECT_EQ(outbox.Next(), nullptr);
  outbox.Push(Note(), kStart);
  outbox.Push(Batch(1), kStart);
  outbox.Push(Batch(2), kStart);
  outbox.Push(Note(), kStart);
  EXPECT_NE(outbox.Next(), nullptr);
  EXPECT_EQ(outbox.Next(), outbox.Next()) << "stays the same until sent";
  EXPECT_EQ(SendAll(outbox, seq), "note 1 2 note ");
  EXPECT_EQ(outbox.Next(), nullptr);
}

TEST(OutboxTest, BatchesWaitWhileAsManyFramesAreUnacknowledged) {
  Outbox outbox(2, 1'000);
  uint64_t seq = 0;
  for (int id = 1; id <= 4; ++id) outbox.Push(Batch(id), kStart);
  EXPECT_EQ(SendAll(outbox, seq), "1 2 ");
  EXPECT_TRUE(outbox.Acknowledge(1, kStart));
  EXPECT_EQ(SendAll(outbox, seq), "3 ");
  EXPECT_TRUE(outbox.Acknowledge(3, kStart));
  EXPECT_EQ(SendAll(outbox, seq), "4 ");
}

TEST(OutboxTest, BatchesWaitWhileAsManyDescriptorsAreUnacknowledged) {
  Outbox outbox(1'000, 5);
  uint64_t seq = 0;
  outbox.Push(Batch(1, 3), kStart);
  outbox.Push(Batch(2, 2), kStart);
  outbox.Push(Batch(3, 1), kStart);
  outbox.Push(Batch(4, 3), kStart);
  EXPECT_EQ(SendAll(outbox, seq), "1 2 ") << "5 of 5 descriptors";
  EXPECT_TRUE(outbox.Acknowledge(1, kStart));
  EXPECT_EQ(SendAll(outbox, seq), "3 ") << "3 of 5, and 3 more wait";
  EXPECT_TRUE(outbox.Acknowledge(2, kStart));
  EXPECT_EQ(SendAll(outbox, seq), "4 ");
}

TEST(OutboxTest, ABatchLargerThanTheWindowGoesByItself) {
  Outbox outbox(10, 5);
  uint64_t seq = 0;
  outbox.Push(Batch(1, 100), kStart);
  outbox.Push(Batch(2), kStart);
  outbox.Push(Batch(3, 100), kStart);
  EXPECT_EQ(SendAll(outbox, seq), "1 ")
      << "not even a batch without descriptors joins it";
  EXPECT_TRUE(outbox.Acknowledge(1, kStart));
  EXPECT_EQ(SendAll(outbox, seq), "2 ");
  EXPECT_TRUE(outbox.Acknowledge(2, kStart));
  EXPECT_EQ(SendAll(outbox, seq), "3 ");
}

TEST(OutboxTest, OtherFramesPassAFullWindowButOvertakeNothing) {
  Outbox outbox(1, 10);
  uint64_t seq = 0;
  outbox.Push(Batch(1), kStart);
  outbox.Push(Note(), kStart);
  outbox.Push(Batch(2), kStart);
  outbox.Push(Note(), kStart);
  EXPECT_EQ(SendAll(outbox, seq), "1 note ");
  EXPECT_TRUE(outbox.Acknowledge(1, kStart));
  EXPECT_EQ(SendAll(outbox, seq), "2 note ");
}

TEST(OutboxTest, OneAcknowledgementCoversAllBeforeIt) {
  Outbox outbox(3, 6);
  uint64_t seq = 0;
  for (int id = 1; id <= 6; ++id) outbox.Push(Batch(id, 2), kStart);
  EXPECT_EQ(SendAll(outbox, seq), "1 2 3 ");
  EXPECT_TRUE(outbox.Acknowledge(3, kStart));
  EXPECT_EQ(SendAll(outbox, seq), "4 5 6 ");
}

TEST(OutboxTest, AnAcknowledgementOfWhatWasNotSentIsRefused) {
  Outbox outbox(3, 6);
  uint64_t seq = 0;
  EXPECT_FALSE(outbox.Acknowledge(1, kStart)) << "nothing was sent";
  outbox.Push(Batch(1), kStart);
  EXPECT_FALSE(outbox.Acknowledge(1, kStart)) << "it is only queued";
  SendAll(outbox, seq);
  EXPECT_FALSE(outbox.Acknowledge(2, kStart));
  EXPECT_FALSE(outbox.Acknowledge(~uint64_t{0}, kStart));
  EXPECT_TRUE(outbox.Acknowledge(1, kStart));
}

TEST(OutboxTest, AnAcknowledgementNeverGoesBackwards) {
  Outbox outbox(3, 6);
  uint64_t seq = 0;
  for (int id = 1; id <= 3; ++id) outbox.Push(Batch(id), kStart);
  SendAll(outbox, seq);
  EXPECT_TRUE(outbox.Acknowledge(2, kStart));
  EXPECT_FALSE(outbox.Acknowledge(1, kStart));
  EXPECT_FALSE(outbox.Acknowledge(0, kStart));
  EXPECT_TRUE(outbox.Acknowledge(2, kStart)) << "may be repeated";
  EXPECT_TRUE(outbox.Acknowledge(3, kStart));
}

TEST(OutboxTest, NothingIsStalledWhereNothingWaits) {
  Outbox outbox(3, 6);
  uint64_t seq = 0;
  EXPECT_EQ(outbox.stalled_since(), absl::InfiniteFuture());
  outbox.Push(Note(), After(1));
  SendAll(outbox, seq, After(2));
  EXPECT_EQ(outbox.stalled_since(), absl::InfiniteFuture());
}

TEST(OutboxTest, AQueueStandsStillSinceItsFirstFrameOrTheLastOneThatLeft) {
  Outbox outbox(3, 6);
  outbox.Push(Note(), After(1));
  outbox.Push(Note(), After(2));
  EXPECT_EQ(outbox.stalled_since(), After(1)) << "more of it is no progress";
  outbox.Sent(After(3));
  EXPECT_EQ(outbox.stalled_since(), After(3));
  outbox.Sent(After(4));
  EXPECT_EQ(outbox.stalled_since(), absl::InfiniteFuture());
  outbox.Push(Note(), After(9));
  EXPECT_EQ(outbox.stalled_since(), After(9)) << "an idle queue did not wait";
}

TEST(OutboxTest, BatchesUnderWayStandStillUntilTheyAreAcknowledged) {
  Outbox outbox(3, 6);
  uint64_t seq = 0;
  outbox.Push(Batch(1), After(1));
  outbox.Push(Batch(2), After(1));
  SendAll(outbox, seq, After(2));
  EXPECT_EQ(outbox.stalled_since(), After(2));
  EXPECT_TRUE(outbox.Acknowledge(1, After(4)));
  EXPECT_EQ(outbox.stalled_since(), After(4));
  EXPECT_TRUE(outbox.Acknowledge(1, After(5)));
  EXPECT_EQ(outbox.stalled_since(), After(4))
      << "to repeat an acknowledgement is no progress";
  EXPECT_TRUE(outbox.Acknowledge(2, After(6)));
  EXPECT_EQ(outbox.stalled_since(), absl::InfiniteFuture());
}

TEST(OutboxTest, ClearDropsWhatWaitsAndKeepsCountOfWhatIsUnderWay) {
  Outbox outbox(1, 6);
  uint64_t seq = 0;
  outbox.Push(Batch(1), kStart);
  outbox.Push(Batch(2), kStart);
  EXPECT_EQ(SendAll(outbox, seq), "1 ");
  outbox.Clear();
  EXPECT_EQ(outbox.Next(), nullptr);
  EXPECT_EQ(outbox.Next(), nullptr);
  outbox.Push(Note(), kStart);
  EXPECT_EQ(SendAll(outbox, seq), "note ") << "an Abort must get through";
  EXPECT_TRUE(outbox.Acknowledge(1, kStart));
}

}  // namespace
}  // namespace handoff
