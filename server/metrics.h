#ifndef HANDOFF_SERVER_METRICS_H_
#define HANDOFF_SERVER_METRICS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "handoff/handoff.h"
#include "handoff/integrations/prometheus/metrics.h"
#include "server/service_info.h"

namespace handoff::server {

// The page for Prometheus: what the library counts, and the requests of `info`,
// which go on with the next process too.
class MetricsPage {
 public:
  // To be one of Options::state_types, beside handoff::Metrics::Type().
  static StateType Type();

  // As Metrics::Create(). `info` is borrowed and outlives the Handoff.
  static absl::StatusOr<std::unique_ptr<MetricsPage>> Create(Handoff& handoff,
                                                             ServiceInfo* info);

  // As Prometheus's text format has it. Thread-safe, from Ready() on.
  std::string Text() const;

 private:
  MetricsPage(const ServiceInfo* info, std::unique_ptr<Metrics> handoffs)
      : info_(info), handoffs_(std::move(handoffs)) {}

  const ServiceInfo* const info_;
  const std::unique_ptr<Metrics> handoffs_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_METRICS_H_
