#include "tools/load/demonstration.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/load/ledger.h"

namespace handoff::load {
namespace {

// The longest that Tick() and the look at processes are put off.
constexpr absl::Duration kTick = absl::Milliseconds(5);

// Generous, for a machine that is busy with something else: what a healthy run
// needs is a tenth.
constexpr absl::Duration kReady = absl::Seconds(20);
constexpr absl::Duration kWarmUp = absl::Seconds(2);
constexpr absl::Duration kPrepare = absl::Seconds(20);
constexpr absl::Duration kWindDown = absl::Seconds(25);
constexpr absl::Duration kExit = absl::Seconds(15);
constexpr absl::Duration kTool = absl::Seconds(10);

// Which handoff of six is by signal: neither the first nor the last, so that
// such a process is both a successor and a predecessor.
bool BySignal(size_t number, size_t handoffs) {
  return number == (handoffs + 2) / 2;
}

volatile sig_atomic_t stopped = 0;

absl::Status FromErrorCode(const std::error_code& error,
                           absl::string_view what) {
  return error ? absl::ErrnoToStatus(error.value(), what) : absl::OkStatus();
}

}  // namespace

void Demonstration::Stop() { stopped = 1; }

Demonstration::Demonstration(const Options& options, ServerProcesses processes)
    : options_(options),
      binary_(absl::StrCat(options.folder, "/handoff_server")),
      socket_(absl::StrCat(options.folder, "/handoff.sock")),
      started_(MonotonicNow()),
      processes_(std::move(processes)) {
  report_.handoffs_wanted = options.handoffs;
}

absl::StatusOr<Report> Demonstration::Run(const Options& options) {
  absl::StatusOr<ServerProcesses> processes =
      ServerProcesses::Create(absl::StrCat(options.folder, "/server.log"));
  if (!processes.ok()) return processes.status();
  Demonstration demonstration(options, *std::move(processes));
  if (absl::Status went = demonstration.Go(); !went.ok()) return went;
  return std::move(demonstration.report_);
}

absl::Status Demonstration::Go() {
  if (absl::Status started = StartFirst(); !started.ok()) return started;
  for (size_t number = 1; number <= options_.handoffs; ++number) {
    if (absl::Status handed = HandOver(number); !handed.ok()) {
      if (absl::IsCancelled(handed)) return handed;
      Problem(absl::StrCat("handoff ", number, ": ", handed.message()));
      // The predecessor goes on as if nothing had been, and so does the load.
      generations_.Withdraw();
      load_->OnServes();
    }
  }
  if (absl::Status closed = CloseLoad(); !closed.ok()) return closed;
  ReadLedger();
  if (absl::Status ended = StopServers(); !ended.ok()) return ended;
  report_.kept = load_->CountKept();
  report_.lost = load_->CountLost();
  report_.took = MonotonicNow() - started_;
  if (report_.took > options_.promised) {
    Problem(absl::StrFormat("took %.1f s; at most %.0f s are promised",
                            absl::ToDoubleSeconds(report_.took),
                            absl::ToDoubleSeconds(options_.promised)));
  }
  return absl::OkStatus();
}

absl::Status Demonstration::StartFirst() {
  std::error_code error;
  // The second copy takes the place of the first before SIGUSR2. It is made
  // now, as copying would hold up the clients then.
  for (const absl::string_view suffix : {"", ".next"}) {
    std::filesystem::copy_file(options_.server, absl::StrCat(binary_, suffix),
                               error);
    if (error) return FromErrorCode(error, options_.server);
  }
  doing_ = "starting";
  pid_t pid = 0;
  if (absl::Status began = BeginSuccessor(false, &pid); !began.ok()) {
    return began;
  }
  const absl::StatusOr<ReadyLine> ready = AwaitReady(pid);
  if (!ready.ok()) return ready.status();
  load_ = std::make_unique<Load>(options_.load, ready->http, &loop_,
                                 &generations_, &report_.tally);
  progress_.Say(absl::StrCat("server ", pid, " serves; ", options_.load.kept,
                             " connections are to be kept"));
  // Till streams and uploads are well under way.
  const absl::Time warm = MonotonicNow() + kWarmUp;
  doing_ = "warming up";
  return Until("the load", kPrepare,
               [&] { return MonotonicNow() > warm && load_->Prepared(); });
}

absl::Status Demonstration::BeginSuccessor(bool by_signal, pid_t* pid) {
  if (by_signal) {
    std::error_code error;
    std::filesystem::rename(absl::StrCat(binary_, ".next"), binary_, error);
    if (error) return FromErrorCode(error, binary_);
    generations_.Expect(0);
    if (kill(generations_.current_pid(), SIGUSR2) != 0) {
      return absl::ErrnoToStatus(errno, "SIGUSR2");
    }
    *pid = 0;
    return absl::OkStatus();
  }
  const absl::StatusOr<pid_t> started = processes_.Start(
      {binary_, "--http=tcp:127.0.0.1:0", absl::StrCat("--handoff=", socket_),
       "--workers=2", "--label=demo", "--watch=10s", "--drain_deadline=30s"});
  if (!started.ok()) return started.status();
  generations_.Expect(*started);
  *pid = *started;
  return absl::OkStatus();
}

absl::Status Demonstration::HandOver(size_t number) {
  doing_ =
      absl::StrFormat("before handoff %d of %d", number, options_.handoffs);
  load_->PlanHolds();
  if (absl::Status prepared = AwaitExchanges(); !prepared.ok()) return prepared;

  HandoffReport handoff;
  handoff.by_signal = BySignal(number, options_.handoffs);
  handoff.predecessor = generations_.current_pid();
  doing_ = absl::StrFormat("in handoff %d of %d", number, options_.handoffs);
  load_->BeforeHandoff();
  const absl::Time began = MonotonicNow();
  pid_t pid = 0;
  if (absl::Status started = BeginSuccessor(handoff.by_signal, &pid);
      !started.ok()) {
    return started;
  }
  const absl::StatusOr<ReadyLine> ready = AwaitReady(pid);
  if (!ready.ok()) return ready.status();
  handoff.successor = ready->pid;
  handoff.took = MonotonicNow() - began;
  handoff.cut = load_->CountCut();
  handoff.connections = load_->kept_open() - load_->CountLost();
  report_.mid_message += handoff.cut;
  report_.handoffs.push_back(handoff);
  predecessors_.push_back(handoff.predecessor);
  if (number + 1 >= options_.handoffs) load_->ShortStreams();
  load_->OnServes();
  progress_.Say(absl::StrFormat(
      "handoff %d: %d -> %d%s in %.0f ms, %d of %d connections mid-message",
      number, handoff.predecessor, handoff.successor,
      handoff.by_signal ? " by SIGUSR2" : "",
      absl::ToDoubleMilliseconds(handoff.took), handoff.cut,
      handoff.connections));
  return absl::OkStatus();
}

absl::StatusOr<ReadyLine> Demonstration::AwaitReady(pid_t pid) {
  absl::StatusOr<ReadyLine> ready = absl::UnavailableError("");
  absl::optional<std::string> line;
  const auto arrived = [&] {
    if ((line = processes_.TakeLine()).has_value()) {
      ready = ParseReadyLine(*line);
      return true;
    }
    const pid_t watched = pid != 0 ? pid : generations_.current_pid();
    const absl::optional<int> ended = processes_.Ended(watched);
    if (!ended.has_value()) return false;
    ready = absl::UnavailableError(absl::StrCat(
        "process ", watched, " ", ServerProcesses::Describe(*ended)));
    return true;
  };
  if (absl::Status waited = Until("a server to be ready", kReady, arrived);
      !waited.ok()) {
    // One that hangs would be in the way of the next.
    if (pid != 0) kill(pid, SIGKILL);
    return waited;
  }
  if (!ready.ok()) return ready;
  processes_.Adopt(ready->pid);
  if (absl::Status right = generations_.Confirm(ready->pid); !right.ok()) {
    return right;
  }
  // One that found nobody to take over from would start afresh, and serve.
  if (ready->generation != generations_.current() + 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("generation ", generations_.current() + 1,
                     " was expected; said: ", *line));
  }
  return ready;
}

absl::Status Demonstration::AwaitExchanges() {
  absl::Status prepared =
      Until("every kept connection to have exchanged checked bytes", kPrepare,
            [this] { return load_->Prepared(); });
  if (absl::IsDeadlineExceeded(prepared)) {
    // The next handoff is still worth seeing; these connections do not count.
    Problem(absl::StrCat(prepared.message(), ": not ",
                         load_->DescribeUnprepared()));
    return absl::OkStatus();
  }
  return prepared;
}

absl::Status Demonstration::CloseLoad() {
  doing_ = "after the last handoff";
  if (absl::Status prepared = AwaitExchanges(); !prepared.ok()) return prepared;
  doing_ = "winding down";
  load_->WindDown();
  absl::Status ended = Until("every connection to end", kWindDown,
                             [this] { return load_->Ended(); });
  if (absl::IsDeadlineExceeded(ended)) {
    Problem(ended.message());
    return absl::OkStatus();
  }
  return ended;
}

void Demonstration::ReadLedger() {
  const absl::StatusOr<std::string> json =
      processes_.Run({options_.tool, "ledger",
                      absl::StrCat("--handoff=", socket_), "--format=json"},
                     kTool);
  if (!json.ok()) return Problem(json.status().message());
  const absl::StatusOr<LedgerSummary> ledger = ParseLedger(*json);
  if (!ledger.ok()) return Problem(ledger.status().message());
  if (ledger->committed != report_.handoffs.size()) {
    Problem(absl::StrCat("the ledger has ", ledger->committed,
                         " committed handoffs; the clients saw ",
                         report_.handoffs.size()));
  }
  if (ledger->lost != 0) {
    Problem(absl::StrCat("the ledger has ", ledger->lost, " lost sessions"));
  }
  // Each by itself: the figures over all would hide one that was not measured.
  for (size_t i = 0; i < report_.handoffs.size(); ++i) {
    HandoffReport& handoff = report_.handoffs[i];
    uint64_t sessions = 0;
    for (const BlackoutSample& sample : ledger->blackouts) {
      if (sample.successor != handoff.successor) continue;
      handoff.blackout = std::max(handoff.blackout, sample.milliseconds);
      sessions += sample.sessions;
    }
    if (sessions == 0) {
      Problem(absl::StrCat("the ledger has no blackout of handoff ", i + 1,
                           ", to pid ", handoff.successor));
    }
  }
  report_.blackout_p50 = BlackoutQuantile(ledger->blackouts, 0.50);
  report_.blackout_p99 = BlackoutQuantile(ledger->blackouts, 0.99);
  report_.blackout_max = BlackoutQuantile(ledger->blackouts, 1);
}

absl::Status Demonstration::StopServers() {
  doing_ = "waiting for the last watch to end";
  // The last server may be a child of the one before. Only once that has gone
  // is it a child of this process, which can then learn how it exits.
  for (const pid_t pid : predecessors_) {
    if (absl::Status s = AwaitExit(pid); !s.ok()) return s;
  }
  doing_ = "stopping";
  const pid_t last = generations_.current_pid();
  kill(last, SIGTERM);
  return AwaitExit(last);
}

absl::Status Demonstration::AwaitExit(pid_t pid) {
  absl::optional<int> ended;
  absl::Status gone =
      Until(absl::StrCat("process ", pid, " to exit"), kExit, [&] {
        ended = processes_.Ended(pid);
        return ended.has_value();
      });
  if (absl::IsCancelled(gone)) return gone;
  if (!gone.ok()) {
    Problem(gone.message());
  } else if (*ended != 0) {
    Problem(
        absl::StrCat("process ", pid, " ", ServerProcesses::Describe(*ended)));
  }
  return absl::OkStatus();
}

absl::Status Demonstration::Until(absl::string_view what, absl::Duration most,
                                  absl::FunctionRef<bool()> done) {
  const absl::Time deadline =
      std::min(MonotonicNow() + most, started_ + options_.most);
  while (!done()) {
    if (stopped != 0) return absl::CancelledError("stopped by a signal");
    if (MonotonicNow() > deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("waited in vain for ", what));
    }
    loop_.Poll(kTick);
    if (load_ != nullptr) load_->Tick();
    if (progress_.Due(loop_.now())) progress_.Show(loop_.now(), Line());
  }
  return absl::OkStatus();
}

void Demonstration::Problem(absl::string_view what) {
  progress_.Say(absl::StrCat("problem: ", what));
  report_.tally.AddProblem(absl::StrCat(what));
}

std::string Demonstration::Line() const {
  const Tally& tally = report_.tally;
  return absl::StrFormat(
      "%5.1f s  %s: %d requests ok, %d failed, %d messages ok, "
      "%.1f MB checked, %d lost",
      absl::ToDoubleSeconds(MonotonicNow() - started_), doing_,
      tally.requests_ok, tally.requests_failed, tally.messages_ok,
      tally.bytes_checked / 1e6, load_ == nullptr ? 0 : load_->CountLost());
}

}  // namespace handoff::load
