#include "handoff/integrations/prometheus/metrics.h"

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/handoff.h"
#include "handoff/integrations/prometheus/metrics.pb.h"
#include "prometheus/text_serializer.h"
#include "proto/handoff.pb.h"

namespace handoff {
namespace {

std::string Text(const std::vector<prometheus::MetricFamily>& families) {
  return prometheus::TextSerializer().prometheus::Serializer::Serialize(
      families);
}

// The value of one sample by its name and labels as text; -1: there is none.
double Value(const std::string& text, const std::string& sample) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    absl::string_view value = line;
    if (absl::ConsumePrefix(&value, sample + " ")) {
      return std::stod(std::string(value));
    }
  }
  return -1;
}

v1::LedgerHandoff& Add(v1::Ledger& ledger, uint64_t id,
                       const std::string& result) {
  v1::LedgerHandoff& handoff = *ledger.add_handoffs();
  handoff.set_handoff_id(id);
  handoff.set_result(result);
  return handoff;
}

TEST(CountLedgerTest, AHandoffCountsOnceHoweverOftenItIsSeen) {
  v1::Ledger ledger;
  v1::LedgerHandoff& first = Add(ledger, 1, "committed");
  first.set_moved(12);
  v1::Phase& phase = *first.add_phases();
  phase.set_name("frozen");
  phase.set_seconds(0.003);
  v1::Metrics counted;
  CountLedger(ledger, counted);
  CountLedger(ledger, counted);
  const std::string text = Text(MakeFamilies(counted, {}));
  EXPECT_EQ(Value(text, "handoff_handoffs_total{result=\"committed\"}"), 1);
  EXPECT_EQ(Value(text, "handoff_handoffs_total{result=\"aborted\"}"), 0);
  EXPECT_EQ(Value(text, "handoff_outcomes_total{outcome=\"moved\"}"), 12);
  const std::string bucket = "handoff_phase_seconds_bucket{phase=\"frozen\",";
  EXPECT_EQ(Value(text, bucket + "le=\"0.0025\"}"), 0) << text;
  EXPECT_EQ(Value(text, bucket + "le=\"0.005\"}"), 1) << text;
  EXPECT_EQ(Value(text, bucket + "le=\"+Inf\"}"), 1) << text;
  EXPECT_DOUBLE_EQ(Value(text, "handoff_phase_seconds_sum{phase=\"frozen\"}"),
                   0.003);
}

TEST(CountLedgerTest, WhatBecomesKnownLaterIsAdded) {
  v1::Ledger ledger;
  Add(ledger, 1, "committed").set_kept(3);
  v1::Metrics counted;
  CountLedger(ledger, counted);
  v1::LedgerHandoff& handoff = *ledger.mutable_handoffs(0);
  handoff.set_kept(1);
  handoff.set_drained(2);
  for (const uint64_t sessions : {8000, 2000}) {
    v1::Blackout& blackout = *handoff.add_blackouts();
    blackout.set_sessions(sessions);
    blackout.set_milliseconds(sessions == 8000 ? 1.5 : 20);
    CountLedger(ledger, counted);
  }
  const std::string text = Text(MakeFamilies(counted, {}));
  EXPECT_EQ(Value(text, "handoff_outcomes_total{outcome=\"kept\"}"), 3);
  EXPECT_EQ(Value(text, "handoff_outcomes_total{outcome=\"drained\"}"), 2);
  EXPECT_EQ(Value(text, "handoff_blackout_seconds_count"), 10'000);
  EXPECT_EQ(Value(text, "handoff_blackout_seconds_bucket{le=\"0.0025\"}"),
            8000);
  EXPECT_DOUBLE_EQ(Value(text, "handoff_blackout_seconds_sum"),
                   8000 * 0.0015 + 2000 * 0.02);
}

TEST(CountLedgerTest, WhatIsRolledBackWasCommittedAndIsAborted) {
  v1::Ledger ledger;
  Add(ledger, 1, "committed");
  v1::Metrics counted;
  CountLedger(ledger, counted);
  ledger.mutable_handoffs(0)->set_result("aborted");
  CountLedger(ledger, counted);
  const std::string text = Text(MakeFamilies(counted, {}));
  EXPECT_EQ(Value(text, "handoff_handoffs_total{result=\"committed\"}"), 1);
  EXPECT_EQ(Value(text, "handoff_handoffs_total{result=\"aborted\"}"), 1);
}

TEST(CountLedgerTest, CountsOutliveTheLedgersMemory) {
  v1::Metrics counted;
  for (uint64_t id = 1; id <= 100; ++id) {
    v1::Ledger ledger;  // has forgotten all but the last two
    if (id > 1) Add(ledger, id - 1, "committed");
    Add(ledger, id, "committed");
    CountLedger(ledger, counted);
    EXPECT_LE(counted.counted_size(), 2);
  }
  EXPECT_EQ(Value(Text(MakeFamilies(counted, {})),
                  "handoff_handoffs_total{result=\"committed\"}"),
            100);
}

TEST(CountLedgerTest, BucketsOfAnotherVersionAreDropped) {
  v1::Metrics counted;
  counted.mutable_blackout()->add_counts(7);
  EXPECT_EQ(
      Value(Text(MakeFamilies(counted, {})), "handoff_blackout_seconds_count"),
      0);
  v1::Ledger ledger;
  v1::Blackout& blackout = *Add(ledger, 1, "committed").add_blackouts();
  blackout.set_sessions(2);
  blackout.set_milliseconds(100'000);
  CountLedger(ledger, counted);
  const std::string text = Text(MakeFamilies(counted, {}));
  EXPECT_EQ(Value(text, "handoff_blackout_seconds_count"), 2);
  EXPECT_EQ(Value(text, "handoff_blackout_seconds_bucket{le=\"60\"}"), 0);
}

TEST(CountLedgerTest, TheProcessIsSeenAsItIsNow) {
  v1::Status status;
  status.set_generation(4);
  status.set_sessions(1000);
  status.set_open_descriptors(1100);
  status.set_descriptor_limit(20'000);
  status.mutable_lock()->set_reason("a release is being built");
  const std::string text = Text(MakeFamilies({}, status));
  EXPECT_EQ(Value(text, "handoff_generation"), 4);
  EXPECT_EQ(Value(text, "handoff_sessions"), 1000);
  EXPECT_EQ(Value(text, "handoff_open_descriptors"), 1100);
  EXPECT_EQ(Value(text, "handoff_descriptor_limit"), 20'000);
  EXPECT_EQ(Value(text, "handoff_locked"), 1);
  EXPECT_EQ(Value(text, "handoff_in_progress"), 0);
  EXPECT_EQ(text.find("a release"), std::string::npos);
}

// A process of a service that has no sessions.
struct Process {
  std::unique_ptr<Handoff> handoff;
  std::unique_ptr<Metrics> metrics;

  explicit Process(const std::string& path) {
    Options options;
    options.path = path;
    options.state_types.push_back(Metrics::Type());
    options.deadlines.watch = absl::Seconds(60);
    auto started = Handoff::Start(std::move(options));
    EXPECT_TRUE(started.ok()) << started.status();
    handoff = *std::move(started);
    auto made = Metrics::Create(*handoff);
    EXPECT_TRUE(made.ok()) << made.status();
    metrics = *std::move(made);
    const absl::Status ready = handoff->Ready();
    EXPECT_TRUE(ready.ok()) << ready;
  }
  ~Process() { handoff.reset(); }  // it calls the metrics
};

TEST(MetricsTest, CountsGoOnFromOneProcessToTheNext) {
  const TempFolder folder;
  auto process = std::make_unique<Process>(folder / "h");
  for (int i = 1; i <= 40; ++i) {  // more than the ledger remembers
    auto next = std::make_unique<Process>(folder / "h");
    process = std::move(next);
    const std::string text = Text(process->metrics->Collect());
    ASSERT_EQ(Value(text, "handoff_generation"), i + 1) << text;
  }
  // The last one's own entry is made by its library's thread.
  std::string text;
  do {
    text = Text(process->metrics->Collect());
  } while (Value(text, "handoff_handoffs_total{result=\"committed\"}") < 40);
  EXPECT_EQ(Value(text, "handoff_handoffs_total{result=\"committed\"}"), 40);
  EXPECT_EQ(Value(text, "handoff_phase_seconds_count{phase=\"frozen\"}"), 40)
      << text;
}

}  // namespace
}  // namespace handoff
