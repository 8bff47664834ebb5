#include "server/metrics.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "prometheus/metric_family.h"
#include "prometheus/text_serializer.h"
#include "server/server_state.pb.h"

namespace handoff::server {
namespace {

constexpr char kCounters[] = "counters";

google::protobuf::Any Save(const ServiceInfo& info) {
  v1::Counters counters;
  for (const auto& count : info.answers) counters.add_answers(count.load());
  google::protobuf::Any value;
  value.PackFrom(counters);
  return value;
}

absl::Status Load(const google::protobuf::Any& value, ServiceInfo* info) {
  v1::Counters counters;
  if (!value.UnpackTo(&counters)) {
    return absl::InvalidArgumentError("these are no counters");
  }
  const size_t known = std::min(static_cast<size_t>(counters.answers_size()),
                                info->answers.size());
  for (size_t i = 0; i < known; ++i) {
    info->answers[i] = counters.answers(static_cast<int>(i));
  }
  return absl::OkStatus();
}

}  // namespace

StateType MetricsPage::Type() {
  return {kCounters, 1, 1, v1::Counters::descriptor()};
}

absl::StatusOr<std::unique_ptr<MetricsPage>> MetricsPage::Create(
    Handoff& handoff, ServiceInfo* info) {
  const absl::Status added = handoff.AddBlob(
      kCounters,
      [info](uint32_t) -> absl::StatusOr<google::protobuf::Any> {
        return Save(*info);
      },
      [info](const google::protobuf::Any& value, uint32_t) {
        return Load(value, info);
      });
  if (!added.ok()) return added;
  auto handoffs = Metrics::Create(handoff);
  if (!handoffs.ok()) return handoffs.status();
  return std::unique_ptr<MetricsPage>(
      new MetricsPage(info, *std::move(handoffs)));
}

std::string MetricsPage::Text() const {
  std::vector<prometheus::MetricFamily> families = handoffs_->Collect();
  prometheus::MetricFamily answers{
      "http_requests_total",
      "HTTP requests that were answered, by status.",
      prometheus::MetricType::Counter,
      {}};
  for (size_t i = 0; i < info_->answers.size(); ++i) {
    prometheus::ClientMetric metric;
    metric.label = {{"code", absl::StrCat(i + 1, "xx")}};
    metric.counter.value = static_cast<double>(info_->answers[i].load());
    answers.metric.push_back(std::move(metric));
  }
  families.push_back(std::move(answers));
  prometheus::ClientMetric draining;
  draining.gauge.value = info_->mode == Mode::kDraining ? 1 : 0;
  families.push_back({"http_draining",
                      "1 while connections are asked to end.",
                      prometheus::MetricType::Gauge,
                      {std::move(draining)}});
  return prometheus::TextSerializer().prometheus::Serializer::Serialize(
      families);
}

}  // namespace handoff::server
