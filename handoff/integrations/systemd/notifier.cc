#include "handoff/integrations/systemd/notifier.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "handoff/clock.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

// For one message, and for the manager to work through what it has.
constexpr absl::Duration kPatience = absl::Seconds(5);
// How often STATUS= says anew how many sessions there are.
constexpr absl::Duration kStatusPeriod = absl::Seconds(10);
// Beside the drain deadline: for clients that do not close their side.
constexpr absl::Duration kGrace = absl::Seconds(10);
constexpr size_t kMaxStatusBytes = 1000;

// Keepalives come three times within what the manager allows, so a loop may be
// busy for two thirds of it.
constexpr int kBeats = 3;

absl::StatusOr<uint64_t> NumberIn(const char* variable) {
  const char* const text = ::getenv(variable);
  if (text == nullptr) return 0;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) {
    return absl::InvalidArgumentError(
        absl::StrCat(variable, "=", text, " is no number"));
  }
  return number;
}

// For `systemctl status`.
std::string OneLine(absl::string_view text) {
  std::string line(text.substr(0, kMaxStatusBytes));
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return line;
}

// Empty where it cannot be read.
std::string ControlGroups(absl::string_view process) {
  const std::string path = absl::StrCat("/proc/", process, "/cgroup");
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(file.get(), buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  return text;
}

// Whether the manager started `pid`, or whoever started it, for the same unit.
bool InThisUnit(pid_t pid) {
  const std::string ours = ControlGroups("self");
  return pid > 0 && !ours.empty() && ours == ControlGroups(absl::StrCat(pid));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SystemdNotifier>> SystemdNotifier::Install(
    Options& options) {
  auto socket = NotifySocket::FromEnvironment();
  if (!socket.ok()) return socket.status();
  const auto interval = NumberIn("WATCHDOG_USEC");
  if (!interval.ok()) return interval.status();
  const auto pid = NumberIn("WATCHDOG_PID");
  if (!pid.ok()) return pid.status();
  const bool ours = *pid == 0 || *pid == static_cast<uint64_t>(::getpid());
  std::unique_ptr<SystemdNotifier> notifier(new SystemdNotifier(
      *std::move(socket),
      absl::Microseconds(std::min<uint64_t>(*interval, INT64_MAX)), ours,
      options));
  options.observer = notifier.get();
  if (notifier->socket_ != nullptr) options.orphan_successor = true;
  return notifier;
}

SystemdNotifier::SystemdNotifier(std::unique_ptr<NotifySocket> socket,
                                 absl::Duration watchdog, bool watchdog_is_ours,
                                 const Options& options)
    : socket_(std::move(socket)),
      watchdog_(watchdog),
      watchdog_is_ours_(watchdog_is_ours),
      watch_(options.deadlines.watch),
      drain_(options.deadlines.drain),
      next_(options.observer) {}

SystemdNotifier::~SystemdNotifier() { End().IgnoreError(); }

void SystemdNotifier::OnEvent(const Event& event) {
  if (socket_ != nullptr) {
    std::lock_guard<std::mutex> lock(mu_);
    if (Heed(event)) changed_.notify_all();
  }
  if (next_ != nullptr) next_->OnEvent(event);
}

void SystemdNotifier::Change(Phase phase, std::string text) {
  // What was told last stays: this process ends.
  if (state_.phase == Phase::kStopping) return;
  state_.phase = phase;
  state_.text = std::move(text);
  ++states_;
}

bool SystemdNotifier::Heed(const Event& event) {
  using Kind = Event::Kind;
  if (event.rehearsal) return false;
  if (event.kind == Kind::kInheriting) predecessor_ = event.peer;
  const std::string to = absl::StrCat("handing off to pid ", event.peer, ": ");
  if (event.kind == Kind::kHandoffBegun) {
    handoff_id_ = event.handoff_id;
    state_.peer = event.peer;
    Change(Phase::kHandingOff, absl::StrCat(to, "copying"));
    // Not left to the thread: who has asked for the handoff may hear of its end
    // before the manager hears of its beginning, which must not be.
    if (!telling_ && handoff_ != nullptr) {
      TellReloading(absl::ZeroDuration()).IgnoreError();
    }
    return true;
  }
  if (event.handoff_id == 0 || event.handoff_id != handoff_id_) return false;
  switch (event.kind) {
    case Kind::kPreCopied:
      Change(Phase::kHandingOff, absl::StrCat(to, "it restores"));
      return true;
    case Kind::kReadyReceived:
      Change(Phase::kHandingOff, absl::StrCat(to, "what has changed"));
      return true;
    case Kind::kQuiescing:
      state_.frozen = true;
      Change(Phase::kHandingOff, absl::StrCat(to, "freezing"));
      return true;
    case Kind::kCommitted:
      state_.frozen = false;
      Change(Phase::kWatching,
             absl::StrCat("pid ", event.peer, " serves; watching it until ",
                          absl::FormatTime("%H:%M:%SZ", absl::Now() + watch_,
                                           absl::UTCTimeZone())));
      return true;
    case Kind::kAborted:
      state_.frozen = false;
      Change(Phase::kServing, absl::StrCat("the handoff to pid ", state_.peer,
                                           " was aborted: ", event.text));
      return true;
    case Kind::kRolledBack:
      Change(Phase::kServing, absl::StrCat("took over from pid ", state_.peer,
                                           " again: ", event.text));
      return true;
    case Kind::kWatchEnded:
      Change(Phase::kHandedOver, absl::StrCat("pid ", state_.peer, " serves"));
      return true;
    default:
      return false;
  }
}

void SystemdNotifier::Serve(Handoff& handoff) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    handoff_ = &handoff;
    if (socket_ == nullptr) return;
    // A main process that is still there says that the unit is ready, when it
    // says which process is the main one.
    took_place_ = handoff.took_over() && InThisUnit(predecessor_);
    // The variable names the process that the manager has started.
    watched_ = watchdog_ > absl::ZeroDuration() &&
               (watchdog_is_ours_ || handoff.took_over());
    if (watched_) next_beat_ = MonotonicNow();
    // Unless the next handoff has begun already.
    if (states_ == 0) Change(Phase::kServing, "");
  }
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    Note(absl::ResourceExhaustedError(
        absl::StrCat("there can be no more threads: ", error.what())));
    TellServing("");
  }
}

absl::StatusOr<Ended> SystemdNotifier::Wait() {
  absl::StatusOr<Ended> ended = handoff_->Wait();
  if (!thread_.joinable()) return ended;
  std::unique_lock<std::mutex> lock(mu_);
  if (!ended.ok() || *ended == Ended::kStopped) {
    stopped_watching_ = state_.phase == Phase::kWatching;
    Change(Phase::kStopping, "draining");
    changed_.notify_all();
  }
  changed_.wait(lock, [this] { return told_ == states_; });
  return ended;
}

absl::Status SystemdNotifier::End() {
  if (!thread_.joinable()) return trouble_;
  {
    std::lock_guard<std::mutex> lock(mu_);
    quit_ = true;
    changed_.notify_all();
  }
  thread_.join();
  if (outlast_ == 0) return trouble_;
  const absl::Time deadline = MonotonicNow() + drain_ + kGrace;
  const UniqueFd pidfd(
      static_cast<int>(::syscall(SYS_pidfd_open, outlast_, 0)));
  // The number may be another process's by now.
  while (pidfd && InThisUnit(outlast_) && MonotonicNow() < deadline) {
    if (watched_) {
      socket_->Send({{"WATCHDOG", "1"}}, absl::ZeroDuration()).IgnoreError();
    }
    absl::Duration wait = deadline - MonotonicNow();
    if (watched_) wait = std::min(wait, watchdog_ / kBeats);
    pollfd polled = {pidfd.get(), POLLIN, 0};
    const int64_t most = absl::ToInt64Milliseconds(wait);
    if (::poll(&polled, 1,
               static_cast<int>(std::clamp<int64_t>(most, 1, INT_MAX))) > 0) {
      break;
    }
  }
  return trouble_;
}

void SystemdNotifier::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (true) {
    if (told_ != states_) {
      const State state = state_;
      const uint64_t states = states_;
      telling_ = true;
      lock.unlock();
      if (!silent_) Tell(state);
      next_status_ = MonotonicNow() + kStatusPeriod;
      lock.lock();
      telling_ = false;
      told_ = states;
      changed_.notify_all();
      continue;
    }
    if (quit_) return;
    const absl::Time now = MonotonicNow();
    if (Keep(now, lock)) continue;
    const absl::Time wake = !silent_        ? std::min(next_beat_, next_status_)
                            : outlast_ != 0 ? next_beat_
                                            : absl::InfiniteFuture();
    if (wake == absl::InfiniteFuture()) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, absl::ToChronoNanoseconds(wake - now));
    }
  }
}

// What comes by the clock. Whether it did anything; the lock is released for
// it.
bool SystemdNotifier::Keep(absl::Time now, std::unique_lock<std::mutex>& lock) {
  if (silent_ && outlast_ == 0) return false;
  if (silent_) {
    // The unit stops, and systemd hears nobody but this process.
    if (!watched_ || now < next_beat_) return false;
    next_beat_ = now + watchdog_ / kBeats;
    lock.unlock();
    socket_->Send({{"WATCHDOG", "1"}}, absl::ZeroDuration()).IgnoreError();
    lock.lock();
    return true;
  }
  if (std::exchange(alive_, false)) {
    lock.unlock();
    // Where there is no room, the manager has others to read.
    socket_->Send({{"WATCHDOG", "1"}}, absl::ZeroDuration()).IgnoreError();
    lock.lock();
    return true;
  }
  if (watched_ && now >= next_beat_) {
    next_beat_ = now + watchdog_ / kBeats;
    const bool serves = state_.phase == Phase::kServing ||
                        state_.phase == Phase::kHandingOff ||
                        state_.phase == Phase::kStopping;
    if (state_.frozen || !serves) {
      // Who serves nobody may hang; the other one is to go on.
      alive_ = true;
    } else if (!probing_) {
      probing_ = true;
      lock.unlock();
      handoff_->control().Probe([this] {
        std::lock_guard<std::mutex> answered(mu_);
        probing_ = false;
        alive_ = true;
        changed_.notify_all();
      });
      lock.lock();
    }
    return true;
  }
  if (state_.phase == Phase::kServing && now >= next_status_) {
    const std::string text = state_.text;
    lock.unlock();
    socket_->Send({{"STATUS", Serving(text)}}, absl::ZeroDuration())
        .IgnoreError();
    next_status_ = now + kStatusPeriod;
    lock.lock();
    return true;
  }
  return false;
}

void SystemdNotifier::Tell(const State& state) {
  if (state.phase != Phase::kServing && state.phase != Phase::kStopping &&
      !reloading_) {
    Note(TellReloading(kPatience));
  }
  switch (state.phase) {
    case Phase::kServing:
      return TellServing(state.text);
    case Phase::kHandingOff:
    case Phase::kWatching:
      return Send({{"STATUS", OneLine(state.text)}});
    case Phase::kHandedOver:
      return HandOver(state);
    case Phase::kStopping:
      // Whether it is the unit that stops, or only this process.
      if (stopped_watching_ && InThisUnit(state.peer)) return HandOver(state);
      return Send({{"STOPPING", "1"},
                   {"EXTEND_TIMEOUT_USEC",
                    absl::StrCat(absl::ToInt64Microseconds(drain_ + kGrace))},
                   {"STATUS", OneLine(state.text)}});
  }
}

absl::Status SystemdNotifier::TellReloading(absl::Duration patience) {
  absl::Status told = socket_->Send(
      {{"RELOADING", "1"},
       {"MONOTONIC_USEC", absl::StrCat(absl::ToUnixMicros(MonotonicNow()))}},
      patience);
  reloading_ |= told.ok();
  return told;
}

void SystemdNotifier::TellServing(const std::string& text) {
  const std::string status = Serving(text);
  // Or the other's words would be written over.
  if (std::exchange(took_place_, false) && !reloading_) return;
  reloading_ = false;
  Send({{"READY", "1"}, {"STATUS", status}});
}

void SystemdNotifier::HandOver(const State& state) {
  silent_ = true;
  if (!InThisUnit(state.peer)) {
    // Of another unit, for which it speaks itself; this one ends.
    return Send(
        {{"STOPPING", "1"},
         {"EXTEND_TIMEOUT_USEC",
          absl::StrCat(absl::ToInt64Microseconds(drain_ + kGrace))},
         {"STATUS", absl::StrCat("handed over: ", OneLine(state.text))}});
  }
  const std::vector<NotifySocket::Assignment> message = {
      {"MAINPID", absl::StrCat(state.peer)},
      {"READY", "1"},
      {"WATCHDOG", "1"},
      {"STATUS",
       absl::StrCat("pid ", state.peer, " took over from pid ", ::getpid())}};
  // Without this the manager takes our end for the unit's, and ends whoever
  // serves. A process that stays until it is read costs nothing.
  absl::Status told;
  do {
    told = socket_->Send(message, kPatience);
  } while (absl::IsDeadlineExceeded(told) && !IsStopping());
  Note(told);
  // Or it might hear of our end before.
  Note(socket_->Barrier(kPatience));
  // While it stops a unit it takes no new main process. Whom it stops has been
  // sent SIGTERM before it came to the barrier.
  if (!IsStopping()) return;
  outlast_ = state.peer;
  Send({{"EXTEND_TIMEOUT_USEC",
         absl::StrCat(absl::ToInt64Microseconds(drain_ + kGrace))}});
}

bool SystemdNotifier::IsStopping() const {
  sigset_t pending;
  return handoff_->control().GetStatus().state() == "stopping" ||
         (::sigpending(&pending) == 0 && ::sigismember(&pending, SIGTERM) == 1);
}

std::string SystemdNotifier::Serving(const std::string& text) const {
  const v1::Status status = handoff_->control().GetStatus();
  return OneLine(absl::StrCat("serving generation ", status.generation(),
                              " with ", status.sessions(), " sessions",
                              text.empty() ? "" : "; ", text));
}

void SystemdNotifier::Send(std::vector<NotifySocket::Assignment> message) {
  Note(socket_->Send(message, kPatience));
}

void SystemdNotifier::Note(const absl::Status& status) {
  if (trouble_.ok()) trouble_ = status;
}

}  // namespace handoff
