// What a soak does, one after the other, at random.

#include <signal.h>

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/load/soak.h"

namespace handoff::load {
namespace {

// A rehearsal may take as long as a take-over.
constexpr absl::Duration kRehearsal = absl::Seconds(30);

}  // namespace

absl::Status Soak::Round() {
  absl::Status went;
  switch (random_() % 20) {
    case 0:
    case 1:
      went = Rehearse();
      break;
    case 2:
    case 3:
      went = KillSuccessor();
      break;
    case 4:
      went = KillInWatch();
      break;
    case 5:
      went = KillPredecessor();
      break;
    case 6:
      went = KillWatcher();
      break;
    default:
      went = HandOver(/*by_signal=*/random_() % 4 == 0);
  }
  if (!went.ok()) return went;
  for (auto pid = leaving_.begin(); pid != leaving_.end();) {
    const absl::optional<int> ended = processes_.Ended(*pid);
    if (ended.has_value() && *ended != 0) {
      Violation(absl::StrCat("a server that had handed over ",
                             ServerProcesses::Describe(*ended)));
    }
    pid = ended.has_value() ? leaving_.erase(pid) : std::next(pid);
  }
  return Pass(Between(absl::Milliseconds(50), absl::Milliseconds(700)));
}

absl::Status Soak::HandOver(bool by_signal) {
  pid_t pid = 0;
  if (by_signal) {
    kill(current_, SIGUSR2);
  } else {
    const absl::StatusOr<pid_t> started = processes_.Start(ServerCommand());
    if (!started.ok()) return started.status();
    pid = *started;
  }
  ReadyLine ready;
  const absl::StatusOr<bool> serves = AwaitReady(pid, &ready);
  if (!serves.ok()) return serves.status();
  if (*serves) {
    TakeOver(ready.pid);
    ++report_.handoffs;
    // The predecessor may not know yet, and would refuse the next one.
    if (absl::Status s = AwaitServing(current_); !s.ok()) return s;
  } else {
    Violation("a successor that nobody disturbed did not take over");
  }
  return Judge();
}

absl::Status Soak::Rehearse() {
  std::vector<std::string> command = {
      options_.tool, "rehearse", absl::StrCat("--handoff=", socket_), "--"};
  for (const std::string& word : ServerCommand()) command.push_back(word);
  const absl::StatusOr<pid_t> pid = processes_.Start(command);
  if (!pid.ok()) return pid.status();
  absl::optional<int> ended;
  if (absl::Status s = Until("a rehearsal", kRehearsal,
                             [&] {
                               ended = processes_.Ended(*pid);
                               return ended.has_value();
                             });
      !s.ok()) {
    return s;
  }
  ++report_.rehearsals;
  if (*ended != 0) {
    Violation(absl::StrCat("a rehearsal ", ServerProcesses::Describe(*ended)));
  }
  if (absl::Status s = AwaitServing(current_); !s.ok()) return s;
  return Judge();
}

absl::Status Soak::KillSuccessor() {
  const absl::StatusOr<pid_t> pid = processes_.Start(ServerCommand());
  if (!pid.ok()) return pid.status();
  if (absl::Status s =
          Pass(Between(absl::ZeroDuration(), absl::Milliseconds(80)));
      !s.ok()) {
    return s;
  }
  const absl::Time killed_at = Kill(*pid);
  if (absl::Status s = AwaitServing(current_); !s.ok()) return s;
  return Judge(Killing{current_, *pid, true, killed_at});
}

absl::Status Soak::KillInWatch() {
  const pid_t predecessor = current_;
  if (absl::Status s = HandOver(/*by_signal=*/false); !s.ok()) return s;
  if (current_ == predecessor) return absl::OkStatus();
  if (absl::Status s =
          Pass(Between(absl::ZeroDuration(), absl::Milliseconds(500)));
      !s.ok()) {
    return s;
  }
  const pid_t killed = std::exchange(current_, predecessor);
  const absl::Time killed_at = Kill(killed);
  leaving_.erase(predecessor);
  if (absl::Status s = AwaitServing(current_); !s.ok()) return s;
  return Judge(Killing{predecessor, killed, true, killed_at});
}

absl::Status Soak::KillPredecessor() {
  const absl::StatusOr<pid_t> pid = processes_.Start(ServerCommand());
  if (!pid.ok()) return pid.status();
  if (absl::Status s =
          Pass(Between(absl::ZeroDuration(), absl::Milliseconds(80)));
      !s.ok()) {
    return s;
  }
  const pid_t killed = current_;
  const absl::Time killed_at = Kill(killed);
  ReadyLine ready;
  const absl::StatusOr<bool> serves = AwaitReady(*pid, &ready);
  if (!serves.ok()) return serves.status();
  if (*serves) {
    current_ = *pid;
  } else if (absl::Status s = StartFirst(); !s.ok()) {
    return s;
  }
  return Judge(Killing{killed, *pid, false, killed_at});
}

absl::Status Soak::KillWatcher() {
  const pid_t predecessor = current_;
  if (absl::Status s = HandOver(/*by_signal=*/false); !s.ok()) return s;
  if (absl::Status s =
          Pass(Between(absl::ZeroDuration(), absl::Milliseconds(200)));
      !s.ok()) {
    return s;
  }
  if (current_ == predecessor) return absl::OkStatus();
  leaving_.erase(predecessor);
  Kill(predecessor);
  if (absl::Status s = AwaitServing(current_); !s.ok()) return s;
  return Judge();
}

}  // namespace handoff::load
