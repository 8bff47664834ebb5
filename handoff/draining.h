#ifndef HANDOFF_DRAINING_H_
#define HANDOFF_DRAINING_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "handoff/group_set.h"
#include "handoff/handoff.h"
#include "handoff/ledger.h"
#include "handoff/reporter.h"
#include "handoff/roster.h"
#include "proto/handoff.pb.h"

namespace handoff {

// What a process still does when a successor serves and the watch is over: it
// has its groups end what it kept, waits for that until the drain deadline, and
// then tells whoever serves at the handoff socket, whose ledger it is that
// people see, what became of it; and what was told to it since its own ledger
// was handed over. For the library's thread, which it does not block, but in
// End().
class Draining {
 public:
  // All borrowed, and outlive it. `wake` is called, on any thread, when Step()
  // has something to do.
  struct Process {
    const Options* options;
    Roster* roster;
    GroupSet* groups;
    LedgerBook* ledger;
    const Reporter* report;
    std::function<void()> wake;
  };

  // The watch of this handoff is over: the deadline counts from here. Where
  // `ask_groups` is false the service ends what it has by itself.
  Draining(Process process, uint64_t handoff_id, bool ask_groups,
           absl::Time now);
  ~Draining();

  // True when everything is over and told.
  bool Step(absl::Time now);
  // The process ends, with what it has: tells it, unless it has been told, and
  // waits for that, a few seconds at the most.
  void End();
  absl::Time NextWake() const { return deadline_; }

 private:
  void Settle();
  void Tell(std::vector<v1::DrainedSessions> reports);

  const Process process_;
  const uint64_t handoff_id_;
  // InfiniteFuture once there is nothing more to wait for.
  absl::Time deadline_;
  bool settled_ = false;
  std::thread teller_;
  absl::Status told_;  // the teller's until `done_`
  std::atomic<bool> done_{false};
};

}  // namespace handoff

#endif  // HANDOFF_DRAINING_H_
