#include "tools/run_plan.h"

#include <signal.h>

#include <algorithm>
#include <iterator>

namespace handoff {

using Actions = std::vector<RunPlan::Action>;

size_t RunPlan::Serving() const {
  return static_cast<size_t>(
      std::count_if(processes_.begin(), processes_.end(),
                    [](const Process& process) { return !process.leaving; }));
}

std::vector<pid_t> RunPlan::Unknown(const std::vector<pid_t>& heirs) const {
  std::vector<pid_t> unknown;
  std::copy_if(heirs.begin(), heirs.end(), std::back_inserter(unknown),
               [this](pid_t heir) {
                 return std::none_of(processes_.begin(), processes_.end(),
                                     [heir](const Process& process) {
                                       return process.pid == heir;
                                     });
               });
  return unknown;
}

void RunPlan::Signal(int signal, bool leaving_too, Actions& actions) const {
  for (const Process& process : processes_) {
    if (process.leaving && !leaving_too) continue;
    actions.push_back({Action::kSignal, process.pid, signal});
  }
}

Actions RunPlan::Begin() { return {{Action::kStart}}; }

Actions RunPlan::OnStarted(pid_t pid, absl::Time now) {
  started_once_ = true;
  start_at_ = absl::InfiniteFuture();
  if (!takes_over_ && Serving() > 0) settled_at_ = now + kSettle;
  processes_.push_back({pid, now});
  return {};
}

Actions RunPlan::OnStartFailed(int code, absl::Time now) {
  if (!started_once_) return {{Action::kExit, 0, code}};
  // An upgrade that cannot begin changes nothing.
  if (Serving() > 0) return {};
  code_ = code;
  PauseAfter(absl::ZeroDuration(), now);
  return {};
}

void RunPlan::PauseAfter(absl::Duration lived, absl::Time now) {
  if (lived >= kHealthy) pause_ = kFirstPause;
  start_at_ = now + pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
}

Actions RunPlan::OnExit(pid_t pid, int code, const std::vector<pid_t>& heirs,
                        absl::Time now) {
  const auto ended = std::find_if(
      processes_.begin(), processes_.end(),
      [pid](const Process& process) { return process.pid == pid; });
  if (ended == processes_.end()) return {};  // somebody's orphan
  const Process process = *ended;
  processes_.erase(ended);
  if (!process.leaving) code_ = code;
  if (Serving() < 2) settled_at_ = absl::InfiniteFuture();
  const std::vector<pid_t> unknown = Unknown(heirs);
  if (ending_) {
    // The stop could not reach them before. Without a takeover nobody knows
    // what they are, and their code says nothing of the service.
    Actions actions;
    for (const pid_t heir : unknown) {
      processes_.push_back({heir, now, /*leaving=*/!takes_over_});
      actions.push_back({Action::kSignal, heir, stop_signal_});
    }
    if (processes_.empty()) actions.push_back({Action::kExit, 0, code_});
    return actions;
  }
  if (process.leaving || Serving() > 0) return {};
  if (!unknown.empty() && (code == 0 || takes_over_)) {
    for (const pid_t heir : unknown) processes_.push_back({heir, now});
  } else if (code != 0 || takes_over_) {
    PauseAfter(now - process.started, now);
  } else {
    ending_ = true;
    if (processes_.empty()) return {{Action::kExit, 0, code_}};
  }
  return {};
}

Actions RunPlan::Upgrade() const {
  // The one that is on its way has to settle first; a service that takes over
  // says itself whether it can.
  if (ending_ || settled_at_ != absl::InfiniteFuture() ||
      processes_.size() >= kMaxProcesses) {
    return {};
  }
  return {{Action::kStart}};
}

Actions RunPlan::Stop(int signal) {
  ending_ = true;
  stop_signal_ = signal;
  start_at_ = settled_at_ = absl::InfiniteFuture();
  if (processes_.empty()) return {{Action::kExit, 0, code_}};
  Actions actions;
  Signal(signal, /*leaving_too=*/true, actions);
  return actions;
}

Actions RunPlan::OnSignal(int signal) {
  switch (signal) {
    case SIGUSR2:
    case SIGHUP:
      return Upgrade();
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
      return Stop(signal);
    default: {
      Actions actions;
      Signal(signal, /*leaving_too=*/false, actions);
      return actions;
    }
  }
}

Actions RunPlan::OnTime(absl::Time now) {
  Actions actions;
  if (now >= start_at_) {
    start_at_ = absl::InfiniteFuture();
    actions.push_back({Action::kStart});
  }
  if (now >= settled_at_) {
    settled_at_ = absl::InfiniteFuture();
    const auto newest = std::prev(processes_.end());
    for (auto process = processes_.begin(); process != newest; ++process) {
      if (process->leaving) continue;
      process->leaving = true;
      actions.push_back({Action::kSignal, process->pid, SIGTERM});
    }
  }
  return actions;
}

absl::Time RunPlan::NextWake() const {
  return std::min(start_at_, settled_at_);
}

}  // namespace handoff
