#include "tools/load/soak.h"

#include <arpa/inet.h>
#include <signal.h>

#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace handoff::load {
namespace {

// The longest that Tick() and the look at processes are put off.
constexpr absl::Duration kTick = absl::Milliseconds(5);
constexpr absl::Duration kTool = absl::Seconds(10);
constexpr absl::Duration kWarmUp = absl::Seconds(3);

// Generous, for a machine that is busy with something else.
constexpr absl::Duration kReady = absl::Seconds(30);
constexpr absl::Duration kServing = absl::Seconds(30);
constexpr absl::Duration kExit = absl::Seconds(30);
constexpr absl::Duration kQuiet = absl::Seconds(30);
constexpr absl::Duration kFlat = absl::Seconds(15);

// Beyond what the first reading had: the allocator keeps what a burst has used.
constexpr uint64_t kMemorySlackKib = 16 * 1024;

volatile sig_atomic_t stopped = 0;

}  // namespace

void Soak::Stop() { stopped = 1; }

Soak::Soak(const Options& options, ServerProcesses processes)
    : options_(options),
      socket_(absl::StrCat(options.folder, "/handoff.sock")),
      random_(options.seed),
      processes_(std::move(processes)),
      started_(MonotonicNow()) {}

absl::StatusOr<Soak::Report> Soak::Run(const Options& options) {
  absl::StatusOr<ServerProcesses> processes =
      ServerProcesses::Create(absl::StrCat(options.folder, "/server.log"));
  if (!processes.ok()) return processes.status();
  Soak soak(options, *std::move(processes));
  if (absl::Status went = soak.Go(); !went.ok()) return went;
  return soak.report_;
}

absl::Status Soak::Go() {
  if (absl::Status s = StartFirst(); !s.ok()) return s;
  // What a process that took over has is to be compared.
  if (absl::Status s = HandOver(/*by_signal=*/false); !s.ok()) return s;
  if (absl::Status s = Silence(); !s.ok()) return s;
  report_.first = ReadProcess(current_);
  clients_->Resume();
  const absl::Time end = MonotonicNow() + options_.length;
  while (MonotonicNow() < end) {
    if (absl::Status s = Round(); !s.ok()) return s;
    if (!progress_.Due(loop_.now())) continue;
    progress_.Show(
        loop_.now(),
        absl::StrFormat("%6.1f s  %d handoffs, %d rehearsals, %d kills, %d "
                        "requests ok, %d violations",
                        absl::ToDoubleSeconds(MonotonicNow() - started_),
                        report_.handoffs, report_.rehearsals, report_.kills,
                        clients_->requests_ok(), report_.violations));
  }
  if (absl::Status s = Silence(); !s.ok()) return s;
  if (absl::Status s = Judge(); !s.ok()) return s;
  if (absl::Status s = ReadLast(); !s.ok()) return s;
  report_.requests_ok = clients_->requests_ok();
  return StopLast();
}

absl::Status Soak::Silence() {
  clients_->Pause();
  if (absl::Status s =
          Until("the clients to be quiet and the watch to end", kQuiet,
                [&] {
                  for (const pid_t pid : leaving_) {
                    if (!processes_.Ended(pid).has_value()) return false;
                  }
                  return clients_->Quiet();
                });
      !s.ok()) {
    return s;
  }
  return AwaitServing(current_);
}

absl::Status Soak::ReadLast() {
  // A moment after the answer to that question its thread and connection end.
  const absl::Status flat = Until("the last readings", kFlat, [&] {
    report_.last = ReadProcess(current_);
    return report_.last.descriptors <= report_.first.descriptors &&
           report_.last.threads <= report_.first.threads;
  });
  if (absl::IsDeadlineExceeded(flat)) {
    Violation(
        absl::StrFormat("%d descriptors and %d threads instead of %d and %d",
                        report_.last.descriptors, report_.last.threads,
                        report_.first.descriptors, report_.first.threads));
  } else if (!flat.ok()) {
    return flat;
  }
  if (report_.last.memory_kib > report_.first.memory_kib + kMemorySlackKib) {
    Violation(absl::StrFormat("%d KiB instead of %d", report_.last.memory_kib,
                              report_.first.memory_kib));
  }
  return absl::OkStatus();
}

absl::Status Soak::StopLast() {
  clients_.reset();  // or they would connect anew
  kill(current_, SIGTERM);
  absl::optional<int> ended;
  if (absl::Status s = Until("the last server's exit", kExit,
                             [&] {
                               ended = processes_.Ended(current_);
                               return ended.has_value();
                             });
      !s.ok()) {
    return s;
  }
  if (*ended != 0) {
    Violation(
        absl::StrCat("the last server ", ServerProcesses::Describe(*ended)));
  }
  return absl::OkStatus();
}

absl::Status Soak::StartFirst() {
  const absl::Time deadline = MonotonicNow() + kReady;
  ReadyLine ready;
  absl::StatusOr<bool> serves = false;
  // Again where it met a process that was on its way out.
  while (!*serves) {
    if (MonotonicNow() > deadline) {
      return absl::UnavailableError("the server does not start");
    }
    const absl::StatusOr<pid_t> pid = processes_.Start(ServerCommand());
    if (!pid.ok()) return pid.status();
    serves = AwaitReady(*pid, &ready);
    if (!serves.ok()) return serves.status();
    current_ = *pid;
  }
  if (clients_ == nullptr) {
    address_ = absl::StrCat("tcp:127.0.0.1:", ntohs(ready.http.sin_port));
    SoakClients::Options options;
    options.seed = options_.seed;
    clients_ = std::make_unique<SoakClients>(options, ready.http, &loop_);
  }
  return Pass(kWarmUp);
}

std::vector<std::string> Soak::ServerCommand() const {
  return {options_.server, absl::StrCat("--http=", address_),
          absl::StrCat("--handoff=", socket_), "--workers=2", "--watch=10s"};
}

absl::StatusOr<bool> Soak::AwaitReady(pid_t pid, ReadyLine* ready) {
  bool serves = false;
  const absl::Status waited = Until("a server to be ready", kReady, [&] {
    while (const absl::optional<std::string> line = processes_.TakeLine()) {
      const absl::StatusOr<ReadyLine> parsed = ParseReadyLine(*line);
      // A rehearsal's answer, or a server that was killed right after it.
      if (!parsed.ok() || (pid != 0 && parsed->pid != pid) ||
          processes_.Ended(parsed->pid).has_value()) {
        continue;
      }
      *ready = *parsed;
      serves = true;
      return true;
    }
    return processes_.Ended(pid != 0 ? pid : current_).has_value();
  });
  if (!waited.ok()) return waited;
  if (serves) processes_.Adopt(ready->pid);
  return serves;
}

absl::Status Soak::AwaitServing(pid_t pid) {
  absl::StatusOr<ServingStatus> status = absl::UnavailableError("");
  return Until(absl::StrCat("process ", pid, " to serve"), kServing, [&] {
    const auto json =
        processes_.Run({options_.tool, "status",
                        absl::StrCat("--handoff=", socket_), "--format=json"},
                       kTool);
    if (!json.ok()) return false;
    status = ParseStatus(*json);
    return status.ok() && status->pid == pid && status->state == "serving";
  });
}

absl::Time Soak::Kill(pid_t pid) {
  kill(pid, SIGKILL);
  ++report_.kills;
  return MonotonicNow();
}

void Soak::TakeOver(pid_t successor) {
  leaving_.insert(current_);
  current_ = successor;
}

absl::Status Soak::Judge(absl::optional<Killing> killing) {
  if (killing.has_value()) {
    const auto json =
        processes_.Run({options_.tool, "ledger",
                        absl::StrCat("--handoff=", socket_), "--format=json"},
                       kTool);
    if (!json.ok()) return json.status();
    if (absl::Status s = accounts_.Add(*json, *killing); !s.ok()) return s;
  }
  // What the kernel has told the clients' sockets is read.
  if (absl::Status s = Pass(absl::Milliseconds(20)); !s.ok()) return s;
  for (const std::string& what : clients_->TakeViolations()) Violation(what);
  for (const SoakClients::Loss& loss : clients_->TakeLosses()) {
    if (accounts_.Excuse(loss)) continue;
    Violation(absl::StrCat(
        "session ", loss.session,
        loss.refused ? " was refused: " : " was lost: ", loss.why));
  }
  return absl::OkStatus();
}

absl::Status Soak::Until(absl::string_view what, absl::Duration most,
                         absl::FunctionRef<bool()> done) {
  const absl::Time deadline = MonotonicNow() + most;
  while (!done()) {
    if (stopped != 0) return absl::CancelledError("stopped by a signal");
    if (MonotonicNow() > deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("waited in vain for ", what));
    }
    loop_.Poll(kTick);
    if (clients_ != nullptr) clients_->Tick();
  }
  return absl::OkStatus();
}

absl::Status Soak::Pass(absl::Duration time) {
  const absl::Time end = MonotonicNow() + time;
  return Until("time to pass", absl::InfiniteDuration(),
               [end] { return MonotonicNow() >= end; });
}

absl::Duration Soak::Between(absl::Duration low, absl::Duration high) {
  return low + (high - low) * std::uniform_real_distribution<>()(random_);
}

void Soak::Violation(absl::string_view what) {
  ++report_.violations;
  progress_.Say(
      absl::StrFormat("violation at %.1f s, after %d handoffs: %s",
                      absl::ToDoubleSeconds(MonotonicNow() - started_),
                      report_.handoffs, what));
}

std::string FormatJson(const Soak::Report& report) {
  const auto reading = [](const Reading& r) {
    return absl::StrFormat(
        "{\"descriptors\": %d, \"memory_kib\": %d, \"threads\": %d}",
        r.descriptors, r.memory_kib, r.threads);
  };
  return absl::StrFormat(
      "{\"handoffs\": %d, \"rehearsals\": %d, \"kills\": %d, \"requests_ok\": "
      "%d, \"violations\": %d, \"first\": %s, \"last\": %s}",
      report.handoffs, report.rehearsals, report.kills, report.requests_ok,
      report.violations, reading(report.first), reading(report.last));
}

}  // namespace handoff::load
