#ifndef HANDOFF_TOOLS_LOAD_SOAK_H_
#define HANDOFF_TOOLS_LOAD_SOAK_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "tools/load/event_loop.h"
#include "tools/load/loss.h"
#include "tools/load/process_reading.h"
#include "tools/load/progress.h"
#include "tools/load/server_processes.h"
#include "tools/load/soak_clients.h"

namespace handoff::load {

// A server under load, for as long as is asked for: handoffs, rehearsals, and
// kills of either side at random moments. After each, what the clients lost is
// held against what the survivor's ledger says: only what the killed process
// alone owned may be lost.
//
// Not thread-safe. Every wait has a deadline.
class Soak {
 public:
  struct Options {
    std::string server;  // the binaries
    std::string tool;
    // A folder of our own for the socket and the log, with a short path.
    std::string folder;
    absl::Duration length;
    uint64_t seed = 0;  // which of the rounds come, and when they kill
  };

  struct Report {
    uint64_t handoffs = 0;
    uint64_t rehearsals = 0;
    uint64_t kills = 0;
    uint64_t requests_ok = 0;
    uint64_t violations = 0;
    // Of the first process that took over, and of the last; each with every
    // client silent and no other process left.
    Reading first;
    Reading last;
  };

  // Has Run() end early, with an error.
  static void Stop();

  // An error means that there was no run to speak of, as with a server that
  // does not start, or that one came to an end which leaves nobody to serve.
  // What is a violation is said on standard error when it is found.
  static absl::StatusOr<Report> Run(const Options& options);

 private:
  Soak(const Options& options, ServerProcesses processes);

  absl::Status Go();
  absl::Status StartFirst();
  absl::Status Round();

  // The rounds. An error: nobody serves any more, or Stop() was called.
  absl::Status HandOver(bool by_signal);
  absl::Status Rehearse();
  absl::Status KillSuccessor();
  absl::Status KillInWatch();
  absl::Status KillPredecessor();
  absl::Status KillWatcher();

  std::vector<std::string> ServerCommand() const;
  // Waits for a line of `pid` (0: whoever it is) that it serves; false where it
  // ended first.
  absl::StatusOr<bool> AwaitReady(pid_t pid, ReadyLine* ready);
  // Waits until `pid` answers at the socket and is done with what it did.
  absl::Status AwaitServing(pid_t pid);
  absl::Time Kill(pid_t pid);
  void TakeOver(pid_t successor);
  // After a kill, reads what the ledger says of it. Holds what the clients have
  // lost since the last call against all that it has said.
  absl::Status Judge(absl::optional<Killing> killing = absl::nullopt);
  // Until every client is silent and no other process is left.
  absl::Status Silence();
  absl::Status ReadLast();
  absl::Status StopLast();

  absl::Status Until(absl::string_view what, absl::Duration most,
                     absl::FunctionRef<bool()> done);
  absl::Status Pass(absl::Duration time);
  absl::Duration Between(absl::Duration low, absl::Duration high);
  void Violation(absl::string_view what);

  const Options options_;
  const std::string socket_;
  std::mt19937_64 random_;
  EventLoop loop_;
  Progress progress_;
  ServerProcesses processes_;
  std::unique_ptr<SoakClients> clients_;
  std::string address_ = "tcp:127.0.0.1:0";  // then with the first one's port
  absl::Time started_;
  pid_t current_ = 0;
  std::set<pid_t> leaving_;  // have handed over, and are to exit with 0
  Accounts accounts_;
  Report report_;
};

// One JSON object on one line, without a line end.
std::string FormatJson(const Soak::Report& report);

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_SOAK_H_
