#ifndef HANDOFF_INTEGRATIONS_PROMETHEUS_METRICS_H_
#define HANDOFF_INTEGRATIONS_PROMETHEUS_METRICS_H_

#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/any.pb.h"
#include "handoff/handoff.h"
#include "handoff/integrations/prometheus/metrics.pb.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace handoff {

// A service's handoffs, as Prometheus sees them; README.md lists the metrics.
//
//   options.state_types.push_back(Metrics::Type());
//   auto handoff = Handoff::Start(std::move(options));
//   auto metrics = Metrics::Create(**handoff);  // before Ready()
//   ...
//   prometheus::TextSerializer().Serialize((*metrics)->Collect());
//
// What is counted goes on with the next process, so nothing begins anew with a
// handoff. Collect() is for any thread, from Ready() on; it does not wait for a
// handoff, and costs about what `handoff status` does: it looks at how many
// descriptors are open.
class Metrics : public prometheus::Collectable {
 public:
  // The blob in which the counts move, to be one of Options::state_types.
  static StateType Type();

  // Between Start() and Ready(). `handoff` is borrowed: this outlives its
  // library's thread, so destroy the Handoff first; after that, or before
  // Ready(), call nothing here. Codes of AddBlob().
  static absl::StatusOr<std::unique_ptr<Metrics>> Create(Handoff& handoff);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  explicit Metrics(Handoff* handoff) : handoff_(handoff) {}

  v1::Metrics Counted() const;
  absl::Status Restore(const google::protobuf::Any& value);

  Handoff* const handoff_;
  mutable std::mutex mu_;
  // What the ledger had when somebody looked last, and before this process.
  mutable v1::Metrics counted_;
};

// Counts what `ledger` has that was not counted before. Each handoff counts
// once for each result that it was seen with: one whose successor crashes while
// it is watched is committed, then aborted.
void CountLedger(const v1::Ledger& ledger, v1::Metrics& metrics);

// What is counted, and the state of the process now.
std::vector<prometheus::MetricFamily> MakeFamilies(const v1::Metrics& counted,
                                                   const v1::Status& status);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_PROMETHEUS_METRICS_H_
