#include "tools/load/steady_load.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tools/load/descriptor.h"
#include "tools/load/event_loop.h"
#include "tools/load/server_processes.h"

namespace handoff::load {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr absl::Duration kInterval = absl::Milliseconds(10);

// Drives `load` until `done`, or the test's patience ends: then false.
bool Eventually(SteadyLoad* load, const std::function<bool()>& done) {
  const absl::Time deadline = MonotonicNow() + kTimeout;
  while (!done()) {
    if (MonotonicNow() > deadline) return false;
    load->Poll(absl::Milliseconds(1));
  }
  return true;
}

std::string MakeFolder() {
  char name[] = "/tmp/steady.XXXXXX";
  return mkdtemp(name);
}

// Against the real server.
class SteadyLoadTest : public testing::Test {
 protected:
  static constexpr size_t kKept = 8;
  static constexpr size_t kOthers = 2;

  SteadyLoadTest()
      : folder_(MakeFolder()),
        processes_(*ServerProcesses::Create(folder_ + "/log")) {
    Start();
  }
  ~SteadyLoadTest() override { std::filesystem::remove_all(folder_); }

  // Takes over where another one serves; returns once it is ready.
  void Start() {
    const absl::StatusOr<pid_t> pid = processes_.Start(
        {"server/handoff_server",
         absl::StrCat("--http=tcp:127.0.0.1:", ntohs(server_.sin_port)),
         absl::StrCat("--handoff=", folder_, "/handoff.sock")});
    ASSERT_TRUE(pid.ok()) << pid.status();
    pid_ = *pid;
    const absl::Time deadline = MonotonicNow() + kTimeout;
    for (;;) {
      ASSERT_LT(MonotonicNow(), deadline) << "the server does not start";
      if (const auto line = processes_.TakeLine(); line.has_value()) {
        const absl::StatusOr<ReadyLine> ready = ParseReadyLine(*line);
        ASSERT_TRUE(ready.ok()) << *line;
        server_ = ready->http;
        return;
      }
      if (load_ != nullptr) load_->Poll(absl::Milliseconds(1));
    }
  }

  void BeginLoad() {
    load_ = std::make_unique<SteadyLoad>(server_);
    const absl::Duration long_time = absl::Seconds(1);
    load_->Add(KeptWork("test", "/healthz", kInterval), kKept, kInterval);
    load_->Add(ShortWork("test", "/healthz", kInterval), kOthers, kInterval);
    load_->Add(DownloadWork("test", "/stream?bytes=20000&rate=20000", 20000),
               kOthers, long_time);
    load_->Add(UploadWork("test", "/echo", 20000, long_time), kOthers,
               long_time);
    const absl::Status opened = load_->Open(1000, kTimeout);
    ASSERT_TRUE(opened.ok()) << opened;
    load_->Begin();
  }
  const SteadyFigures& Of(absl::string_view name) {
    return load_->figures(name);
  }
  // Each kind has `more` answers more than now.
  bool AwaitAnswers(uint64_t more) {
    std::map<std::string, uint64_t> wanted;
    for (const std::string name : {"kept", "short", "downloads", "uploads"}) {
      wanted[name] = Of(name).ok + more;
    }
    return Eventually(load_.get(), [&] {
      for (const auto& [name, count] : wanted) {
        if (Of(name).ok < count) return false;
      }
      return true;
    });
  }
  void EndLoad() {
    load_->WindDown();
    load_->End();
  }
  void ExpectNothingLost() {
    for (const std::string name : {"kept", "short", "downloads", "uploads"}) {
      EXPECT_EQ(Of(name).lost, 0U) << load_->FormatJson();
      EXPECT_EQ(Of(name).refused, 0U) << load_->FormatJson();
      EXPECT_EQ(Of(name).reset, 0U) << load_->FormatJson();
      EXPECT_EQ(Of(name).unfinished, 0U) << load_->FormatJson();
    }
    EXPECT_EQ(load_->survived(), kKept) << load_->FormatJson();
    EXPECT_EQ(Of("kept").reconnects, 0U) << load_->FormatJson();
  }

  const std::string folder_;
  ServerProcesses processes_;
  sockaddr_in server_ = {};
  pid_t pid_ = 0;
  std::unique_ptr<SteadyLoad> load_;
};

TEST_F(SteadyLoadTest, AServerThatStaysLosesNothing) {
  BeginLoad();
  ASSERT_TRUE(AwaitAnswers(2)) << load_->FormatJson();
  EndLoad();
  ExpectNothingLost();
}

TEST_F(SteadyLoadTest, AServerThatHandsOverLosesNothing) {
  BeginLoad();
  ASSERT_TRUE(AwaitAnswers(1)) << load_->FormatJson();
  Start();
  ASSERT_TRUE(AwaitAnswers(2)) << load_->FormatJson();
  EndLoad();
  ExpectNothingLost();
}

TEST_F(SteadyLoadTest, WhatAKilledServerCostsIsCountedAndItGoesOn) {
  BeginLoad();
  ASSERT_TRUE(AwaitAnswers(1)) << load_->FormatJson();
  const absl::Time killed = MonotonicNow();
  kill(pid_, SIGKILL);
  ASSERT_TRUE(Eventually(load_.get(), [&] {
    return Of("kept").refused >= kKept && Of("short").refused >= kOthers &&
           load_->survived() == 0;
  })) << load_->FormatJson();
  // Nobody was there for at least so long.
  const absl::Duration gone = MonotonicNow() - killed;
  Start();
  ASSERT_TRUE(AwaitAnswers(2)) << load_->FormatJson();
  EndLoad();
  EXPECT_GE(Of("kept").reconnects, kKept) << load_->FormatJson();
  EXPECT_GE(Of("kept").longest_gap, gone - 2 * kInterval);
  EXPECT_GE(Of("kept").latency.Percentile(1), gone - 2 * kInterval);
  // Of two, one at the most was between two of these.
  EXPECT_GE(Of("downloads").lost, 1U) << load_->FormatJson();
  EXPECT_GE(Of("uploads").lost, 1U) << load_->FormatJson();
  EXPECT_EQ(load_->survived(), 0U);
}

TEST_F(SteadyLoadTest, WhereNobodyAnswersItDoesNotBegin) {
  kill(pid_, SIGKILL);
  SteadyLoad load(server_);
  load.Add(KeptWork("test", "/healthz", kInterval), 2, kInterval);
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(load.Open(1000, absl::Milliseconds(100))));
}

// The test is the server: one client with a kept connection, whose requests are
// answered one after the other in the ways that the test says.
class SteadyClientTest : public testing::Test {
 protected:
  enum class Way { kAnswer, kSayClose, kAnswerAndClose, kClose, kReset, kFail };

  SteadyClientTest()
      : listener_(
            socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    server_.sin_family = AF_INET;
    server_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(server_);
    auto* address = reinterpret_cast<sockaddr*>(&server_);
    EXPECT_EQ(bind(listener_.get(), address, size), 0);
    EXPECT_EQ(listen(listener_.get(), 10), 0);
    EXPECT_EQ(getsockname(listener_.get(), address, &size), 0);
    load_ = std::make_unique<SteadyLoad>(server_);
    load_->Add(KeptWork("test", "/", kInterval), 1, kInterval);
    load_->Begin();
  }

  // Serves until that many requests had the given answer, each in its turn.
  void Serve(const std::vector<Way>& ways) {
    size_t served = 0;
    ASSERT_TRUE(Eventually(load_.get(), [&] {
      if (TakeRequest()) Answer(ways[served++]);
      return served == ways.size();
    }));
    const uint64_t ok = figures().ok;
    ASSERT_TRUE(Eventually(load_.get(), [&] {
      if (TakeRequest()) Answer(Way::kAnswer);
      return figures().ok > ok + 1;
    }));
  }
  bool TakeRequest() {
    Descriptor accepted(
        accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK));
    if (accepted.valid()) peer_ = std::move(accepted);
    std::array<char, 4096> buffer;
    const ssize_t count = recv(peer_.get(), buffer.data(), buffer.size(), 0);
    return count > 0 &&
           absl::EndsWith({buffer.data(), size_t(count)}, "\r\n\r\n");
  }
  void Answer(Way way) {
    constexpr absl::string_view kOk = "HTTP/1.1 200 OK\r\n";
    constexpr absl::string_view kLength = "Content-Length: 2\r\n\r\nok";
    if (way == Way::kAnswer || way == Way::kAnswerAndClose) {
      Send(absl::StrCat(kOk, kLength));
    } else if (way == Way::kSayClose) {
      Send(absl::StrCat(kOk, "Connection: close\r\n", kLength));
    } else if (way == Way::kFail) {
      Send("HTTP/1.1 503 Not now\r\nContent-Length: 9\r\n\r\n\"what's\"\n");
    } else if (way == Way::kReset) {
      const linger none = {1, 0};
      setsockopt(peer_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    }
    if (way != Way::kAnswer && way != Way::kFail) peer_.Reset();
  }
  void Send(const std::string& text) {
    ASSERT_EQ(send(peer_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  const SteadyFigures& figures() { return load_->figures("kept"); }

  sockaddr_in server_ = {};
  Descriptor listener_;
  Descriptor peer_;
  std::unique_ptr<SteadyLoad> load_;
};

TEST_F(SteadyClientTest, ACloseBetweenTwoRequestsLosesNone) {
  Serve({Way::kAnswer, Way::kAnswerAndClose, Way::kAnswer});
  EXPECT_EQ(figures().lost, 0U);
  EXPECT_EQ(figures().reset, 0U);
  EXPECT_EQ(figures().reconnects, 1U);
  EXPECT_EQ(load_->survived(), 0U);
}

TEST_F(SteadyClientTest, AfterAnAnswerThatSaysCloseItConnectsAnew) {
  Serve({Way::kAnswer, Way::kSayClose, Way::kAnswer});
  EXPECT_EQ(figures().lost, 0U);
  EXPECT_EQ(figures().reset, 0U);
  EXPECT_EQ(figures().reconnects, 1U);
  EXPECT_EQ(load_->survived(), 0U);
}

TEST_F(SteadyClientTest, ACloseInFlightIsLostAndAskedAgain) {
  Serve({Way::kAnswer, Way::kClose, Way::kAnswer});
  EXPECT_EQ(figures().lost, 1U);
  EXPECT_EQ(figures().reset, 0U);
  EXPECT_EQ(figures().reconnects, 1U);
}

TEST_F(SteadyClientTest, AResetInFlightIsBoth) {
  Serve({Way::kAnswer, Way::kReset, Way::kAnswer});
  EXPECT_EQ(figures().lost, 1U);
  EXPECT_EQ(figures().reset, 1U);
  EXPECT_EQ(figures().reconnects, 1U);
}

TEST_F(SteadyClientTest, AnAnswerWithAnotherStatusIsNone) {
  Serve({Way::kAnswer, Way::kFail, Way::kAnswer});
  EXPECT_EQ(figures().lost, 1U);
  EXPECT_EQ(figures().reconnects, 1U);
  // Its words are no end to a string of the report.
  EXPECT_TRUE(absl::StrContains(
      load_->FormatJson(), R"({"status 503 \"what's\"\u000a, in flight": 1})"))
      << load_->FormatJson();
}

TEST_F(SteadyClientTest, WhatWasDueDuringAStallHasWaitedSinceThen) {
  constexpr int kRequests = 10;
  ASSERT_TRUE(Eventually(load_.get(), [&] { return TakeRequest(); }));
  const absl::Time stalled = MonotonicNow() + kRequests * kInterval;
  ASSERT_TRUE(
      Eventually(load_.get(), [&] { return MonotonicNow() > stalled; }));
  Answer(Way::kAnswer);
  ASSERT_TRUE(Eventually(load_.get(), [&] {
    if (TakeRequest()) Answer(Way::kAnswer);
    return figures().ok >= kRequests;
  }));
  // The first had waited for the whole of it, and each further one for as much
  // less as it was due later.
  EXPECT_EQ(figures().ok, uint64_t{kRequests});
  EXPECT_GE(figures().latency.Percentile(1), kRequests * kInterval);
  EXPECT_GE(figures().latency.Percentile(0.51), kRequests * kInterval / 2);
  // But some answer came all the time once the stall was over.
  EXPECT_LE(figures().longest_gap, figures().latency.Percentile(1));
  EXPECT_EQ(load_->survived(), 1U);
}

}  // namespace
}  // namespace handoff::load
