#include "tools/load/gap_meter.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace handoff::load {
namespace {

constexpr absl::Duration kUsual = absl::Milliseconds(20);

TEST(GapMeterTest, ASteadyStreamHasNoGap) {
  GapMeter meter;
  meter.Start();
  for (int i = 0; i < 100; ++i) meter.Progress(absl::UnixEpoch() + i * kUsual);
  EXPECT_EQ(meter.LongestBeyondUsual(), absl::ZeroDuration());
}

TEST(GapMeterTest, APauseCountsLessTheUsualWaitWhereverItIs) {
  for (int paused_at = 1; paused_at < 50; ++paused_at) {
    GapMeter meter;
    meter.Start();
    absl::Time now = absl::UnixEpoch();
    for (int i = 0; i < 50; ++i) {
      if (i == paused_at) now += absl::Milliseconds(300);
      meter.Progress(now += kUsual);
    }
    EXPECT_EQ(meter.LongestBeyondUsual(), absl::Milliseconds(300)) << paused_at;
  }
}

TEST(GapMeterTest, WhatASlowStreamWaitsForAnywayIsNoGap) {
  GapMeter meter;
  meter.Start();
  for (int i = 0; i < 10; ++i)
    meter.Progress(absl::UnixEpoch() + i * absl::Seconds(1));
  EXPECT_EQ(meter.LongestBeyondUsual(), absl::ZeroDuration());
}

TEST(GapMeterTest, TheTimeBetweenTwoStreamsIsNoGap) {
  GapMeter meter;
  absl::Time now = absl::UnixEpoch();
  for (int stream = 0; stream < 2; ++stream) {
    meter.Start();
    for (int i = 0; i < 10; ++i) meter.Progress(now += kUsual);
    now += absl::Seconds(10);
  }
  EXPECT_EQ(meter.LongestBeyondUsual(), absl::ZeroDuration());
}

}  // namespace
}  // namespace handoff::load
