#ifndef HANDOFF_PROCESS_CONTROL_H_
#define HANDOFF_PROCESS_CONTROL_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "handoff/control.h"

namespace handoff {

class Process;

// Control, for real: a part of Process, whose lock guards what follows too.
class ProcessControl : public Control {
 public:
  // Audits that wait for the library's thread. More are dropped, and counted.
  static constexpr size_t kMaxAudits = 256;

  explicit ProcessControl(Process* process) : process_(process) {}

  v1::Status GetStatus() const override;
  v1::Ledger GetLedger() const override;
  v1::Ledger GetLedgerSummaries() const override;
  std::vector<v1::InventoryItem> GetInventory() const override;
  absl::StatusOr<std::vector<SessionState>> ReadState(
      absl::Span<const uint64_t> sessions, absl::Time deadline) override;
  const EventLog& events() const override;
  void Audit(absl::string_view text) override;
  absl::StatusOr<pid_t> StartSuccessor(const std::string& executable) override;
  absl::Status Abort(absl::string_view reason, absl::Time deadline) override;
  absl::Status Lock(absl::string_view reason, absl::Time expiry) override;
  absl::Status Unlock() override;
  absl::Status SetAccepting(bool accepting) override;
  void Probe(std::function<void()> done) override;
  absl::StatusOr<Drained> Drain(absl::Span<const uint64_t> sessions, bool all,
                                absl::Time deadline) override;

  // On any thread: executes it and hands over to it. Its pid.
  absl::StatusOr<pid_t> Launch(const std::string& executable,
                               const std::vector<std::string>& arguments);
  // Why handoffs are refused; empty where they are not. With the lock.
  std::string LockedText() const;

  // The library's thread.
  void ReportAudits();
  // Aborts what somebody asked to abort; and tells those whose handoff has
  // ended. Before and after each step of it.
  void CarryAborts(absl::Time now);
  void EndAborts();
  // Nobody carries out anything any more.
  void End();
  // With the lock.
  void SetProgress(absl::optional<v1::HandoffProgress> progress) {
    progress_ = std::move(progress);
  }

 private:
  // Somebody waits in Abort().
  struct AbortCall {
    std::string reason;
    // What is to end; both 0: not carried out yet.
    uint64_t handoff = 0;
    pid_t child = 0;
    absl::optional<absl::Status> result;
  };
  struct HandoffLock {
    std::string reason;
    absl::Time expiry;
  };
  bool Locked() const;
  void Finish(AbortCall& call, absl::Status result);
  void ForgetAborts();

  Process* const process_;
  std::deque<std::string> audits_;
  uint64_t audits_dropped_ = 0;
  std::list<std::shared_ptr<AbortCall>> aborts_;
  std::condition_variable aborts_changed_;
  bool ended_ = false;
  absl::optional<HandoffLock> lock_;
  absl::optional<v1::HandoffProgress> progress_;

  // Of SetAccepting().
  std::mutex accepting_mu_;  // held while the groups are told
  std::atomic<bool> accepting_{true};
};

}  // namespace handoff

#endif  // HANDOFF_PROCESS_CONTROL_H_
