#include "tools/run_service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "handoff/clock.h"
#include "handoff/fd/fd_description.h"
#include "handoff/plain_text.h"
#include "handoff/transport/listen.h"
#include "tools/output.h"
#include "tools/run_child.h"
#include "tools/run_plan.h"

namespace handoff {
namespace {

// As a shell's.
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

// Those that are ours or the service's to handle. Not the ones that stop and
// continue this process, nor those that a fault raises.
sigset_t Handled() {
  sigset_t set;
  sigfillset(&set);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT,
                           SIGSYS, SIGTSTP, SIGCONT, SIGPIPE}) {
    sigdelset(&set, signal);
  }
  return set;
}

void Say(absl::string_view text) {
  const std::string line = absl::StrCat("handoff: ", OnOneLine(text), "\n");
  ::fputs(line.c_str(), stderr);
}

// "exited with code 3", "was killed by signal 9".
std::string HowEnded(int status) {
  return WIFEXITED(status)
             ? absl::StrCat("exited with code ", WEXITSTATUS(status))
             : absl::StrCat("was killed by signal ", WTERMSIG(status));
}

class Service {
 public:
  Service(const CommandLine& command, std::vector<NamedListener> listeners,
          const sigset_t& mask, int signals)
      : command_(command),
        listeners_(std::move(listeners)),
        mask_(mask),
        signals_(signals),
        plan_(command.takes_over) {}

  int Run() {
    Do(plan_.Begin());
    while (!Ended()) {
      Wait();
      ReadSignals();
      Do(plan_.OnTime(MonotonicNow()));
    }
    return *exit_code_;
  }

 private:
  void Do(std::vector<RunPlan::Action> actions);
  void Start();
  void Wait() const;
  void ReadSignals();
  void Reap();
  std::vector<pid_t> Heirs();
  bool Ended() const;

  const CommandLine& command_;
  const std::vector<NamedListener> listeners_;
  const sigset_t mask_;
  const int signals_;
  RunPlan plan_;
  std::set<pid_t> ours_;
  bool knows_children_ = true;
  absl::optional<int> exit_code_;
};

void Service::Do(std::vector<RunPlan::Action> actions) {
  for (const RunPlan::Action& action : actions) {
    switch (action.kind) {
      case RunPlan::Action::kStart:
        Start();
        break;
      case RunPlan::Action::kSignal:
        // It may have ended, and is not reaped by then: the pid is still its.
        ::kill(action.pid, action.number);
        break;
      case RunPlan::Action::kExit:
        exit_code_ = action.number;
        break;
    }
  }
}

void Service::Start() {
  const absl::StatusOr<pid_t> pid =
      StartChild(command_.command, listeners_, mask_);
  const absl::Time now = MonotonicNow();
  if (pid.ok()) {
    ours_.insert(*pid);
    Say(absl::StrCat("pid ", *pid, " is started"));
    return Do(plan_.OnStarted(*pid, now));
  }
  Say(pid.status().message());
  Do(plan_.OnStartFailed(
      absl::IsNotFound(pid.status()) ? kNotFound : kNotExecutable, now));
}

void Service::Wait() const {
  const absl::Duration left = plan_.NextWake() - MonotonicNow();
  const int64_t milliseconds =
      absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)));
  pollfd polled = {signals_, POLLIN, 0};
  ::poll(&polled, 1,
         left == absl::InfiniteDuration()
             ? -1
             : static_cast<int>(std::clamp<int64_t>(milliseconds, 0, 60'000)));
}

void Service::ReadSignals() {
  signalfd_siginfo info;
  while (::read(signals_, &info, sizeof(info)) ==
         static_cast<ssize_t>(sizeof(info))) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) continue;
    std::vector<RunPlan::Action> actions = plan_.OnSignal(signal);
    if (actions.empty()) Say(absl::StrCat("signal ", signal, " does nothing"));
    Do(std::move(actions));
  }
  // SIGCHLD of several may be one.
  Reap();
}

void Service::Reap() {
  std::vector<std::pair<pid_t, int>> ended;
  int status = 0;
  pid_t pid;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    if (ours_.erase(pid) != 0) {
      Say(absl::StrCat("pid ", pid, " ", HowEnded(status)));
    }
    ended.emplace_back(pid, status);
  }
  if (ended.empty()) return;
  // Only now: before, those that have ended too would be among them.
  const std::vector<pid_t> heirs = Heirs();
  for (const auto& [child, how] : ended) {
    const int code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    Do(plan_.OnExit(child, code, heirs, MonotonicNow()));
  }
}

std::vector<pid_t> Service::Heirs() {
  std::vector<pid_t> heirs;
  std::ifstream children(
      absl::StrCat("/proc/self/task/", ::getpid(), "/children"));
  knows_children_ = children.is_open();
  for (pid_t pid; children >> pid;) {
    if (ours_.count(pid) == 0) heirs.push_back(pid);
  }
  return heirs;
}

bool Service::Ended() const {
  if (!exit_code_.has_value()) return false;
  if (knows_children_) return true;
  // Who they are is not known, but whether there is one is.
  siginfo_t info;
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0;
}

}  // namespace

int RunService(const CommandLine& command) {
  std::vector<NamedListener> listeners;
  for (const auto& [name, address] : command.listeners) {
    absl::StatusOr<UniqueFd> bound = BindListener(address);
    // As systemd gives them: blocking.
    if (bound.ok() && ::fcntl(bound->get(), F_SETFL, 0) != 0) {
      bound = absl::ErrnoToStatus(errno, "fcntl(F_SETFL)");
    }
    if (!bound.ok()) {
      return Fail(kFailed, absl::StrCat(bound.status().message(),
                                        "; see --listen=", name));
    }
    const auto info = DescribeDescriptor(bound->get());
    Say(absl::StrCat(name, " listens at ",
                     info.ok() ? info->local_address() : address));
    listeners.push_back({name, *std::move(bound)});
  }
  // Where we have inherited that it is ignored, nobody's end would be told.
  ::signal(SIGCHLD, SIG_DFL);
  // What the service has left behind comes to us even where we are not PID 1.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const sigset_t handled = Handled();
  sigset_t mask;
  ::sigprocmask(SIG_BLOCK, &handled, &mask);
  const UniqueFd signals(::signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) {
    return Fail(kFailed, absl::ErrnoToStatus(errno, "signalfd").message());
  }
  return Service(command, std::move(listeners), mask, signals.get()).Run();
}

}  // namespace handoff
