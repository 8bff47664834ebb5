#ifndef HANDOFF_INTEGRATIONS_SIGNALS_UPGRADE_SIGNALS_H_
#define HANDOFF_INTEGRATIONS_SIGNALS_UPGRADE_SIGNALS_H_

#include <signal.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "handoff/handoff.h"
#include "handoff/transport/spawn.h"

namespace handoff {

// A signal starts the successor, as Handoff::StartSuccessor() does:
//
//   auto signals = UpgradeSignals::Install(*handoff);  // SIGUSR2
//
// What came of each is an event of kind kAudit, for the observer and the log. A
// signal that comes while a handoff is under way is refused like any other
// second attempt; several that come at once are one.
//
// Whatever else the service does with signals goes on: only the handlers of
// these signals change, and no other thread's mask. They arrive on a thread of
// this object, on which nothing else does; where a thread of the service leaves
// them unblocked, one may arrive there, and interrupt a poll with EINTR as any
// handler does. A thread that waits for one of them itself (sigwait, signalfd)
// would take it away from here.
//
// No signal ends the child that is to take over: it begins with these ignored,
// until it installs a handler. What arrives before Install() is lost, or, where
// the service has not ignored it, ends the process as ever.
//
// One for a process. Thread-safety: made and destroyed on any thread.
class UpgradeSignals {
 public:
  // Call when Handoff::Ready() has returned OK. `handoff` outlives this.
  //
  // ALREADY_EXISTS     the service has a handler for one of them, or there is
  //                    an UpgradeSignals
  // INVALID_ARGUMENT   one of them cannot be handled, or there is none
  // RESOURCE_EXHAUSTED there can be no more threads
  static absl::StatusOr<std::unique_ptr<UpgradeSignals>> Install(
      Handoff& handoff, std::vector<int> signals = {SIGUSR2});

  // Puts back what was done with these signals before, except where the service
  // has changed it meanwhile. Waits for a successor that is being executed.
  ~UpgradeSignals();
  UpgradeSignals(const UpgradeSignals&) = delete;
  UpgradeSignals& operator=(const UpgradeSignals&) = delete;

 private:
  UpgradeSignals(Handoff* handoff, std::vector<int> signals);

  absl::Status Handle();
  void PutBack();
  void Run();

  Handoff* const handoff_;
  const std::vector<int> signals_;
  std::vector<std::pair<int, struct sigaction>> before_;
  std::atomic<bool> stop_{false};
  std::unique_ptr<IgnoredInChildren> ignored_in_children_;
  std::thread thread_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_SIGNALS_UPGRADE_SIGNALS_H_
