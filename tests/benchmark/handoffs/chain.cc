#include "tests/benchmark/handoffs/chain.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace handoff::benchmark {
namespace {

constexpr double kNanosPerMilli = 1e6;

std::unique_ptr<Program> StartClients(const std::string& port, size_t count) {
  auto clients = std::make_unique<Program>(
      std::vector<std::string>{"--role=clients", absl::StrCat("--port=", port),
                               absl::StrCat("--sessions=", count)});
  return clients;
}

}  // namespace

Chain::Chain(const Load& load) : load_(load) {
  service_ = StartService();
  const std::string port = service_->Answer("port");
  service_->Answer("serves");
  clients_ = StartClients(port, load.sessions);
  clients_->Answer("connected");
  AwaitSessions(*service_);
  if (load.talking > 0) clients_->Tell(absl::StrCat("talk ", load.talking));
}

Chain::~Chain() {
  if (load_.talking > 0) {
    clients_->Tell("stop");
    int64_t echoes = 0;
    Require(absl::SimpleAtoi(clients_->Answer("echoes"), &echoes) && echoes > 0,
            "the clients have talked to nobody");
  }
  service_->End();
  clients_->End();
}

std::unique_ptr<Program> Chain::StartService() {
  return std::make_unique<Program>(std::vector<std::string>{
      "--role=service", absl::StrCat("--path=", folder_.path(), "/handoff"),
      absl::StrCat("--state_bytes=", load_.state_bytes),
      absl::StrCat("--workers=", load_.workers),
      absl::StrCat("--changes=", load_.changes)});
}

void Chain::AwaitSessions(Program& service) {
  const int64_t deadline = NowNanos() + absl::ToInt64Nanoseconds(kPatience);
  while (true) {
    service.Tell("sessions");
    const std::string count = service.Answer("sessions");
    if (count == absl::StrCat(load_.sessions)) return;
    Require(NowNanos() < deadline,
            absl::StrCat(count, " sessions of ", load_.sessions));
  }
}

Measured Chain::HandOver() {
  std::unique_ptr<Program> successor = StartService();
  const Figures serves = ParseFigures(successor->Answer("serves"));
  service_->Answer("ended");
  service_->End();
  service_ = std::move(successor);
  AwaitSessions(*service_);
  Measured measured;
  measured.milliseconds =
      static_cast<double>(IntIn(serves, "nanoseconds")) / kNanosPerMilli;
  measured.memory_bytes = static_cast<double>(IntIn(serves, "memory"));
  const int64_t deadline = NowNanos() + absl::ToInt64Nanoseconds(kPatience);
  do {
    Require(NowNanos() < deadline, "no blackout is reported");
    service_->Tell("blackouts");
    measured.blackouts.clear();
    for (const std::string& text : std::vector<std::string>(absl::StrSplit(
             service_->Answer("blackouts"), ',', absl::SkipEmpty()))) {
      Require(absl::SimpleAtod(text, &measured.blackouts.emplace_back()), text);
    }
  } while (measured.blackouts.size() < load_.workers);
  return measured;
}

BareLoop::BareLoop(size_t sessions, size_t state_bytes)
    : loop_({"--role=bare", absl::StrCat("--sessions=", sessions),
             absl::StrCat("--state_bytes=", state_bytes)}) {
  clients_ = StartClients(loop_.Answer("port"), sessions);
  clients_->Answer("connected");
  loop_.Answer("accepted");
}

BareLoop::~BareLoop() {
  loop_.End();
  clients_->End();
}

double BareLoop::Move(const char* what) {
  loop_.Tell(what);
  double nanoseconds = 0;
  Require(absl::SimpleAtod(loop_.Answer("moved"), &nanoseconds), "no number");
  return nanoseconds / kNanosPerMilli;
}

double BareLoop::MoveMilliseconds() { return Move("move"); }
double BareLoop::MoveStateMilliseconds() { return Move("state"); }

}  // namespace handoff::benchmark
