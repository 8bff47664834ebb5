#include "tests/benchmark/handoffs/service.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "handoff/handoff.h"
#include "tests/benchmark/handoffs/echo_group.h"
#include "tests/benchmark/handoffs/program.h"

namespace handoff::benchmark {
namespace {

// A line of /proc/self/status, in bytes.
int64_t MemoryLine(absl::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!absl::StartsWith(line, name)) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t kibibytes = 0;
    Require(words.size() == 3 && absl::SimpleAtoi(words[1], &kibibytes), line);
    return kibibytes * 1024;
  }
  Die("there is no such line in /proc/self/status");
}

// How much more memory this process has had, at most, than when it began.
class MemoryUse {
 public:
  MemoryUse() {
    std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): resets VmHWM
    before_ = MemoryLine("VmRSS:");
  }
  int64_t most() const { return MemoryLine("VmHWM:") - before_; }

 private:
  int64_t before_;
};

class Times : public Observer {
 public:
  void OnEvent(const Event& event) override {
    // The offer has come; the first Descriptors frame comes next.
    if (event.kind == Event::Kind::kInheriting) {
      memory = std::make_unique<MemoryUse>();
      begun = NowNanos();
    }
    if (event.kind == Event::Kind::kCommitted && committed == 0) {
      committed = NowNanos();
    }
    if (event.kind == Event::Kind::kAborted) {
      Die(absl::StrCat("a handoff was aborted: ", event.text));
    }
  }
  int64_t begun = 0;
  int64_t committed = 0;
  std::unique_ptr<MemoryUse> memory;
};

// Shares the sessions out.
class Receiver : public SessionReceiver {
 public:
  explicit Receiver(std::vector<std::unique_ptr<EchoGroup>>* groups)
      : groups_(*groups) {}
  absl::Status Restore(const std::shared_ptr<Session>& session,
                       const SessionSnapshot& snapshot) override {
    return Of(*session).Restore(session, snapshot);
  }
  void Drop(Session& session) override { Of(session).Drop(session); }

 private:
  EchoGroup& Of(const Session& session) {
    return *groups_[session.id() % groups_.size()];
  }
  std::vector<std::unique_ptr<EchoGroup>>& groups_;
};

int PortOf(int listener) {
  sockaddr_in address = {};
  socklen_t length = sizeof(address);
  Require(::getsockname(listener, reinterpret_cast<sockaddr*>(&address),
                        &length) == 0,
          "getsockname");
  return ntohs(address.sin_port);
}

std::string Blackouts(const Handoff& service) {
  const v1::Ledger ledger = service.GetLedger();
  if (ledger.handoffs().empty()) return "";
  return absl::StrJoin(ledger.handoffs(ledger.handoffs_size() - 1).blackouts(),
                       ",", [](std::string* out, const v1::Blackout& blackout) {
                         absl::StrAppend(out, blackout.milliseconds());
                       });
}

}  // namespace

void RunService(const ServiceSettings& settings) {
  Times times;
  std::vector<std::unique_ptr<EchoGroup>> groups;
  for (size_t i = 0; i < settings.workers; ++i) {
    groups.push_back(std::make_unique<EchoGroup>(
        settings.state_bytes, settings.changes / settings.workers));
  }
  Receiver receiver(&groups);
  Options options;
  options.path = settings.path;
  options.state_types = {{kSessionType}};
  options.observer = &times;
  // The next handoff is not to wait for this one's watch.
  options.deadlines.watch = absl::Milliseconds(1);
  auto service = Handoff::Start(options);
  Require(service.ok(), service.status().message());
  for (auto& group : groups)
    group->SetHandle((*service)->Register(group.get()));
  const auto shards = (*service)->ListenSharded(
      "echo", "tcp:127.0.0.1:0", static_cast<int>(settings.workers));
  Require(shards.ok(), shards.status().message());
  const absl::Status restored =
      (*service)->TakeSessions(kSessionType, &receiver);
  Require(restored.ok(), restored.message());
  const int64_t memory = times.memory == nullptr ? 0 : times.memory->most();
  const absl::Status ready = (*service)->Ready();
  Require(ready.ok(), ready.message());
  for (size_t i = 0; i < groups.size(); ++i) {
    for (const int listener : (*shards)[i]) groups[i]->Listen(listener);
    groups[i]->Run();
  }
  if (!(*service)->took_over()) {
    Say(absl::StrCat("port ", PortOf((*shards)[0][0])));
  }
  Say(absl::StrCat("serves nanoseconds=", times.committed - times.begun,
                   " memory=", memory));
  std::thread told([&] {
    std::string line;
    while (!(line = Hear()).empty()) {
      Say(line == "blackouts"
              ? absl::StrCat("blackouts ", Blackouts(**service))
              : absl::StrCat("sessions ",
                             (*service)->control().GetStatus().sessions()));
    }
    (*service)->Stop();
  });
  Require((*service)->Wait().ok(), "Wait() failed");
  for (auto& group : groups) group->End();
  Say("ended");
  told.join();
  service->reset();
}

}  // namespace handoff::benchmark
