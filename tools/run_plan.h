#ifndef HANDOFF_TOOLS_RUN_PLAN_H_
#define HANDOFF_TOOLS_RUN_PLAN_H_

#include <signal.h>
#include <sys/types.h>

#include <cstddef>
#include <vector>

#include "absl/time/time.h"

namespace handoff {

// What `handoff run` does about the processes of its service. Decides only: it
// starts nothing, signals nobody and reads no clock, but says what is to be
// done, and is told what happens. Not thread-safe.
//
// Usually there is one process. For an upgrade a second one is started beside
// it; then a service that takes over by itself ends the first one by itself.
// Any other service just has two processes, and when the second one has lived
// for kSettle the first one is told to end (SIGTERM): it is leaving, and no
// part of the service any more. What becomes of the service when a process
// ends:
//
//   another one is left that is not leaving   it goes on there
//   it leaves processes behind, and exited    they are the service now
//   with 0, or takes over by itself
//   it exited with 0, and does not take over  the service has ended
//   by itself
//   anything else                             a crash: started again, after a
//                                             pause that doubles from
//                                             kFirstPause to kLongestPause, and
//                                             begins anew for who has lived for
//                                             kHealthy
//
// Who takes over by itself does not exit with 0 unasked but when it has handed
// off: where nobody is left then, its successor has crashed.
class RunPlan {
 public:
  static constexpr absl::Duration kSettle = absl::Seconds(1);
  static constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
  static constexpr absl::Duration kLongestPause = absl::Seconds(10);
  static constexpr absl::Duration kHealthy = absl::Seconds(10);
  // An upgrade beyond that is refused.
  static constexpr size_t kMaxProcesses = 8;

  struct Action {
    enum Kind {
      kStart,   // execute the command; then OnStarted() or OnStartFailed()
      kSignal,  // send `number` to `pid`
      kExit,    // with the code `number`
    };
    Kind kind;
    pid_t pid = 0;
    int number = 0;
    bool operator==(const Action& other) const {
      return kind == other.kind && pid == other.pid && number == other.number;
    }
  };

  explicit RunPlan(bool takes_over) : takes_over_(takes_over) {}

  // What is to be done, in this order; each once.
  std::vector<Action> Begin();
  std::vector<Action> OnStarted(pid_t pid, absl::Time now);
  // `code` is what the first start, where that is this one, has run exit with.
  std::vector<Action> OnStartFailed(int code, absl::Time now);
  // A child of ours has ended, with this exit code, or 128 and its signal.
  // `heirs` are the children left that we have not started: their parent has
  // ended.
  std::vector<Action> OnExit(pid_t pid, int code,
                             const std::vector<pid_t>& heirs, absl::Time now);
  // SIGUSR2 and SIGHUP upgrade; SIGTERM, SIGINT and SIGQUIT stop, also those
  // who turn out to be our children only later; any other is passed on.
  std::vector<Action> OnSignal(int signal);
  std::vector<Action> OnTime(absl::Time now);
  // When OnTime() has something to do.
  absl::Time NextWake() const;

 private:
  struct Process {
    pid_t pid;
    absl::Time started;
    bool leaving = false;
  };

  size_t Serving() const;
  std::vector<pid_t> Unknown(const std::vector<pid_t>& heirs) const;
  void Signal(int signal, bool leaving_too, std::vector<Action>& actions) const;
  std::vector<Action> Upgrade() const;
  std::vector<Action> Stop(int signal);
  void PauseAfter(absl::Duration lived, absl::Time now);

  const bool takes_over_;
  std::vector<Process> processes_;  // in the order of their start
  bool started_once_ = false;
  bool ending_ = false;
  int stop_signal_ = SIGTERM;  // the last one, once ending_
  int code_ = 0;               // of the last that served
  absl::Duration pause_ = kFirstPause;
  absl::Time start_at_ = absl::InfiniteFuture();
  absl::Time settled_at_ = absl::InfiniteFuture();
};

}  // namespace handoff

#endif  // HANDOFF_TOOLS_RUN_PLAN_H_
