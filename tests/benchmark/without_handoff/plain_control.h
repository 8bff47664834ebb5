#ifndef TESTS_BENCHMARK_WITHOUT_HANDOFF_PLAIN_CONTROL_H_
#define TESTS_BENCHMARK_WITHOUT_HANDOFF_PLAIN_CONTROL_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "handoff/control.h"

namespace handoff {

// Nothing to see and nothing to do: what GET /metrics asks for is empty.
class PlainControl final : public Control {
 public:
  v1::Status GetStatus() const override { return {}; }
  v1::Ledger GetLedger() const override { return {}; }
  v1::Ledger GetLedgerSummaries() const override { return {}; }
  std::vector<v1::InventoryItem> GetInventory() const override { return {}; }
  absl::StatusOr<std::vector<SessionState>> ReadState(
      absl::Span<const uint64_t>, absl::Time) override {
    return None();
  }
  const EventLog& events() const override { return events_; }
  void Audit(absl::string_view) override {}
  absl::StatusOr<pid_t> StartSuccessor(const std::string&) override {
    return None();
  }
  absl::Status Abort(absl::string_view, absl::Time) override { return None(); }
  absl::Status Lock(absl::string_view, absl::Time) override { return None(); }
  absl::Status Unlock() override { return None(); }
  absl::Status SetAccepting(bool) override { return None(); }
  void Probe(std::function<void()> done) override { done(); }
  absl::StatusOr<Drained> Drain(absl::Span<const uint64_t>, bool,
                                absl::Time) override {
    return None();
  }

 private:
  static absl::Status None() {
    return absl::UnimplementedError("this server was built without handoff");
  }

  EventLog events_;
};

}  // namespace handoff

#endif  // TESTS_BENCHMARK_WITHOUT_HANDOFF_PLAIN_CONTROL_H_
