#ifndef HANDOFF_PROCESS_CONTROL_H_
#define HANDOFF_PROCESS_CONTROL_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "handoff/control.h"

namespace handoff {

class Process;

// Control, for real: a part of Process, whose lock guards what both share.
class ProcessControl : public Control {
 public:
  explicit ProcessControl(Process* process) : process_(process) {}

  v1::Status GetStatus() const override;
  v1::Ledger GetLedger() const override;
  std::vector<v1::InventoryItem> GetInventory() const override;
  absl::StatusOr<std::vector<SessionState>> ReadState(
      absl::Span<const uint64_t> sessions, absl::Time deadline) override;
  const EventLog& events() const override;
  void Audit(absl::string_view text) override;
  absl::Status StartSuccessor(const std::string& executable) override;
  absl::Status Abort(absl::string_view reason, absl::Time deadline) override;
  absl::Status Lock(absl::string_view reason, absl::Time expiry) override;
  absl::Status Unlock() override;
  absl::Status SetAccepting(bool accepting) override;
  absl::StatusOr<Drained> Drain(absl::Span<const uint64_t> sessions, bool all,
                                absl::Time deadline) override;

 private:
  Process* const process_;
};

}  // namespace handoff

#endif  // HANDOFF_PROCESS_CONTROL_H_
