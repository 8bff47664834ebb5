#include "handoff/integrations/prometheus/metrics.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "prometheus/client_metric.h"
#include "prometheus/metric_type.h"

namespace handoff {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr char kBlob[] = "metrics";

// In seconds. A blackout is felt from some milliseconds on; a phase may take as
// long as its deadline.
constexpr std::array<double, 14> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01,
                                            0.025,  0.05,  0.1,    0.25,  0.5,
                                            1,      2.5,   10,     60};

bool IsHistogram(const v1::Metrics::Histogram& histogram) {
  return histogram.counts_size() == static_cast<int>(kBounds.size()) + 1;
}

void Observe(double seconds, uint64_t times,
             v1::Metrics::Histogram& histogram) {
  // Also where it is of a version with other buckets: those counts fit nowhere.
  if (!IsHistogram(histogram)) {
    histogram.Clear();
    histogram.mutable_counts()->Resize(static_cast<int>(kBounds.size()) + 1, 0);
  }
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  const int bucket = static_cast<int>(bound - kBounds.begin());
  histogram.set_counts(bucket, histogram.counts(bucket) + times);
  histogram.set_sum(histogram.sum() + seconds * static_cast<double>(times));
}

// A count can also fall: what was kept becomes drained.
uint64_t Risen(uint64_t before, uint64_t now) {
  return now > before ? now - before : 0;
}

void CountHandoff(const v1::LedgerHandoff& before,
                  const v1::LedgerHandoff& handoff, v1::Metrics& metrics) {
  if (before.result() != handoff.result()) {
    ++(*metrics.mutable_handoffs())[handoff.result()];
  }
  for (int i = before.phases_size(); i < handoff.phases_size(); ++i) {
    const v1::Phase& phase = handoff.phases(i);
    Observe(phase.seconds(), 1, (*metrics.mutable_phases())[phase.name()]);
  }
  for (int i = before.blackouts_size(); i < handoff.blackouts_size(); ++i) {
    const v1::Blackout& blackout = handoff.blackouts(i);
    Observe(blackout.milliseconds() / 1e3, blackout.sessions(),
            *metrics.mutable_blackout());
  }
  auto& outcomes = *metrics.mutable_outcomes();
  outcomes["moved"] += Risen(before.moved(), handoff.moved());
  outcomes["kept"] += Risen(before.kept(), handoff.kept());
  outcomes["drained"] += Risen(before.drained(), handoff.drained());
  outcomes["refused"] += Risen(before.refused(), handoff.refused());
  outcomes["closed"] += Risen(before.closed(), handoff.closed());
  outcomes["lost"] += Risen(before.lost(), handoff.lost());
}

ClientMetric Labelled(absl::string_view name, absl::string_view value) {
  ClientMetric metric;
  if (!name.empty()) metric.label = {{std::string(name), std::string(value)}};
  return metric;
}

MetricFamily Counters(absl::string_view name, absl::string_view help,
                      absl::string_view label,
                      std::map<std::string, uint64_t> values) {
  MetricFamily family{
      std::string(name), std::string(help), MetricType::Counter, {}};
  for (const auto& [value, count] : values) {
    ClientMetric metric = Labelled(label, value);
    metric.counter.value = static_cast<double>(count);
    family.metric.push_back(std::move(metric));
  }
  return family;
}

ClientMetric HistogramMetric(absl::string_view label, absl::string_view value,
                             const v1::Metrics::Histogram& histogram) {
  ClientMetric metric = Labelled(label, value);
  const bool known = IsHistogram(histogram);
  uint64_t cumulated = 0;
  for (size_t i = 0; i <= kBounds.size(); ++i) {
    if (known) cumulated += histogram.counts(static_cast<int>(i));
    metric.histogram.bucket.push_back(
        {cumulated, i < kBounds.size()
                        ? kBounds[i]
                        : std::numeric_limits<double>::infinity()});
  }
  metric.histogram.sample_count = cumulated;
  metric.histogram.sample_sum = known ? histogram.sum() : 0;
  return metric;
}

MetricFamily Gauge(absl::string_view name, absl::string_view help,
                   double value) {
  ClientMetric metric;
  metric.gauge.value = value;
  return {std::string(name),
          std::string(help),
          MetricType::Gauge,
          {std::move(metric)}};
}

// Those that are usual are there from the beginning, with 0: a rate needs that.
std::map<std::string, uint64_t> WithZeros(
    const google::protobuf::Map<std::string, uint64_t>& counts,
    std::initializer_list<const char*> names) {
  std::map<std::string, uint64_t> all;
  for (const char* name : names) all[name] = 0;
  for (const auto& [name, count] : counts) all[name] = count;
  return all;
}

}  // namespace

void CountLedger(const v1::Ledger& ledger, v1::Metrics& metrics) {
  google::protobuf::RepeatedPtrField<v1::LedgerHandoff> before;
  before.Swap(metrics.mutable_counted());
  for (const v1::LedgerHandoff& handoff : ledger.handoffs()) {
    const auto old = std::find_if(
        before.begin(), before.end(), [&](const v1::LedgerHandoff& counted) {
          return counted.handoff_id() == handoff.handoff_id();
        });
    static const v1::LedgerHandoff kNever;
    CountHandoff(old == before.end() ? kNever : *old, handoff, metrics);
    *metrics.add_counted() = handoff;
    metrics.mutable_counted()->rbegin()->clear_entries();
  }
}

std::vector<MetricFamily> MakeFamilies(const v1::Metrics& counted,
                                       const v1::Status& status) {
  std::vector<MetricFamily> families;
  families.push_back(Counters(
      "handoff_handoffs_total", "Handoffs that this service went through.",
      "result",
      WithZeros(counted.handoffs(), {"committed", "aborted", "rehearsed"})));
  families.push_back(Counters(
      "handoff_outcomes_total",
      "What became of sessions, descriptors and blobs in handoffs.", "outcome",
      WithZeros(counted.outcomes(),
                {"moved", "kept", "drained", "refused", "closed", "lost"})));
  MetricFamily phases{"handoff_phase_seconds",
                      "How long each phase of a handoff took.",
                      MetricType::Histogram,
                      {}};
  std::map<std::string, v1::Metrics::Histogram> by_phase(
      counted.phases().begin(), counted.phases().end());
  for (const char* phase :
       {"pre-copy", "staging", "changes", "frozen", "watch"}) {
    by_phase[phase];
  }
  for (const auto& [phase, histogram] : by_phase) {
    phases.metric.push_back(HistogramMetric("phase", phase, histogram));
  }
  families.push_back(std::move(phases));
  families.push_back({"handoff_blackout_seconds",
                      "For how long sessions were served by nobody.",
                      MetricType::Histogram,
                      {HistogramMetric("", "", counted.blackout())}});
  families.push_back(Gauge("handoff_generation",
                           "Of the process: 1 more with each handoff.",
                           static_cast<double>(status.generation())));
  families.push_back(Gauge("handoff_in_progress",
                           "1 while a handoff is under way or watched.",
                           status.has_handoff() ? 1 : 0));
  families.push_back(Gauge("handoff_locked",
                           "1 while an operator refuses handoffs.",
                           status.has_lock() ? 1 : 0));
  families.push_back(Gauge("handoff_sessions", "Sessions that are open.",
                           static_cast<double>(status.sessions())));
  families.push_back(Gauge("handoff_listeners", "Listeners of the service.",
                           static_cast<double>(status.listeners())));
  families.push_back(Gauge("handoff_open_descriptors",
                           "Descriptors that the process has open.",
                           static_cast<double>(status.open_descriptors())));
  families.push_back(Gauge("handoff_descriptor_limit",
                           "How many it may have: RLIMIT_NOFILE.",
                           static_cast<double>(status.descriptor_limit())));
  families.push_back(Gauge("handoff_resident_bytes",
                           "Memory of the process that is resident.",
                           static_cast<double>(status.resident_bytes())));
  families.push_back(Gauge("handoff_uptime_seconds",
                           "Since the process was started.",
                           status.uptime_seconds()));
  return families;
}

StateType Metrics::Type() { return {kBlob, 1, 1, v1::Metrics::descriptor()}; }

absl::StatusOr<std::unique_ptr<Metrics>> Metrics::Create(Handoff& handoff) {
  std::unique_ptr<Metrics> metrics(new Metrics(&handoff));
  const absl::Status added = handoff.AddBlob(
      kBlob,
      [m = metrics.get()](uint32_t) -> absl::StatusOr<google::protobuf::Any> {
        google::protobuf::Any value;
        value.PackFrom(m->Counted());
        return value;
      },
      [m = metrics.get()](const google::protobuf::Any& value, uint32_t) {
        return m->Restore(value);
      });
  if (!added.ok()) return added;
  return metrics;
}

v1::Metrics Metrics::Counted() const {
  // First: who counts an older ledger after a newer one counts what is in
  // neither twice.
  std::lock_guard<std::mutex> lock(mu_);
  CountLedger(handoff_->control().GetLedgerSummaries(), counted_);
  return counted_;
}

absl::Status Metrics::Restore(const google::protobuf::Any& value) {
  v1::Metrics metrics;
  if (!value.UnpackTo(&metrics)) {
    return absl::InvalidArgumentError("these are no metrics");
  }
  std::lock_guard<std::mutex> lock(mu_);
  counted_ = std::move(metrics);
  return absl::OkStatus();
}

std::vector<MetricFamily> Metrics::Collect() const {
  return MakeFamilies(Counted(), handoff_->control().GetStatus());
}

}  // namespace handoff
