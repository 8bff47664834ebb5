#ifndef HANDOFF_TOOLS_LOAD_DEMONSTRATION_H_
#define HANDOFF_TOOLS_LOAD_DEMONSTRATION_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tools/load/event_loop.h"
#include "tools/load/load.h"
#include "tools/load/progress.h"
#include "tools/load/report.h"
#include "tools/load/server_processes.h"
#include "tools/load/whoami.h"

namespace handoff::load {

// The whole run: a server under load, one handoff after the other, and what
// came of it.
//
// The order of the steps is what makes the figures mean something. A handoff
// starts only when every kept connection has exchanged checked bytes with the
// process that serves, so that "before and after every handoff" holds of each
// connection by itself; and a connection counts as cut in the middle of a
// message only if the client found it there before the handoff started and
// again, in the same message, after the successor said that it serves.
//
// Not thread-safe. Every wait has a deadline.
class Demonstration {
 public:
  struct Options {
    std::string server;  // the binary; a copy is what runs
    std::string tool;    // the handoff command
    // A folder of our own for the socket, the copy and the log. Its path is
    // short: that of a Unix socket is at most 107 bytes.
    std::string folder;
    size_t handoffs = 6;
    Load::Options load;
    // For the whole run: a wait ends when this does.
    absl::Duration most = absl::Seconds(110);
    // A run that takes longer has failed, though it goes on to its end.
    absl::Duration promised = absl::InfiniteDuration();
  };

  // Sets itself up to be told to stop: Run() then ends early, with an error.
  static void Stop();

  // An error means that there was no run to speak of, as with a server that
  // does not start. Else the report says what happened.
  static absl::StatusOr<Report> Run(const Options& options);

 private:
  Demonstration(const Options& options, ServerProcesses processes);

  absl::Status Go();
  absl::Status StartFirst();
  absl::Status HandOver(size_t number);
  absl::Status BeginSuccessor(bool by_signal, pid_t* pid);
  absl::Status AwaitExchanges();
  absl::Status CloseLoad();
  void ReadLedger();
  absl::Status StopServers();
  // An exit with anything but 0 is a problem; an error means Stop().
  absl::Status AwaitExit(pid_t pid);

  // Drives everything until `done`. DEADLINE_EXCEEDED, and CANCELLED after
  // Stop().
  absl::Status Until(absl::string_view what, absl::Duration most,
                     absl::FunctionRef<bool()> done);
  // Waits for the line of the process that was started, `pid` if it is known.
  absl::StatusOr<ReadyLine> AwaitReady(pid_t pid);
  void Problem(absl::string_view what);
  std::string Line() const;

  const Options options_;
  const std::string binary_;
  const std::string socket_;
  absl::Time started_;
  EventLoop loop_;
  Progress progress_;
  ServerProcesses processes_;
  Generations generations_;
  Report report_;
  std::unique_ptr<Load> load_;
  std::vector<pid_t> predecessors_;  // that are to exit with 0
  std::string doing_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_DEMONSTRATION_H_
