#include "tools/load/latency_recorder.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace handoff::load {
namespace {

TEST(LatencyRecorderTest, APercentileIsALatencyThatWas) {
  LatencyRecorder recorder;
  for (int i = 1000; i > 0; --i) {
    recorder.Add(absl::ZeroDuration(), absl::Microseconds(i));
  }
  EXPECT_EQ(recorder.count(), 1000U);
  EXPECT_EQ(recorder.Percentile(0.5), absl::Microseconds(500));
  EXPECT_EQ(recorder.Percentile(0.99), absl::Microseconds(990));
  EXPECT_EQ(recorder.Percentile(0.999), absl::Microseconds(999));
  EXPECT_EQ(recorder.Percentile(1), absl::Microseconds(1000));
}

TEST(LatencyRecorderTest, WithoutARequestAllIsZero) {
  const LatencyRecorder recorder;
  EXPECT_EQ(recorder.Percentile(0.99), absl::ZeroDuration());
  EXPECT_EQ(recorder.Series(), "seconds,worst_ms,requests\n");
}

TEST(LatencyRecorderTest, OneRequestIsEveryPercentile) {
  LatencyRecorder recorder;
  recorder.Add(absl::ZeroDuration(), absl::Milliseconds(7));
  EXPECT_EQ(recorder.Percentile(0.001), absl::Milliseconds(7));
  EXPECT_EQ(recorder.Percentile(1), absl::Milliseconds(7));
}

TEST(LatencyRecorderTest, TheSeriesHasTheWorstOfThoseThatWereDueTogether) {
  LatencyRecorder recorder;
  recorder.Add(absl::Milliseconds(25), absl::Microseconds(1500));
  recorder.Add(absl::Milliseconds(3), absl::Milliseconds(40));
  recorder.Add(absl::Milliseconds(29), absl::Microseconds(250));
  EXPECT_EQ(recorder.Series(),
            "seconds,worst_ms,requests\n"
            "0.00,40.000,1\n"
            "0.02,1.500,2\n");
}

}  // namespace
}  // namespace handoff::load
