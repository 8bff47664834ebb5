// What the manager is told, of handoffs between two Handoffs of this process.

#include "handoff/integrations/systemd/notifier.h"

#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/integrations/systemd/fake_manager.h"

namespace handoff {
namespace {

// One event loop, without sessions.
class Loop : public Group {
 public:
  Loop() : thread_([this] { Run(); }) {}
  ~Loop() override {
    Post(nullptr);
    thread_.join();
  }

  void Post(std::function<void()> fn) override {
    std::lock_guard<std::mutex> lock(mu_);
    posted_.push_back(std::move(fn));
    changed_.notify_all();
  }
  absl::Status Snapshot(Session&, SessionWriter&) override {
    return absl::OkStatus();
  }
  void Quiesce() override {}
  void Thaw() override {}
  void Release(absl::Span<const std::shared_ptr<Session>>,
               absl::Span<const std::string>) override {}

  // Answers nothing until Resume(). Returns when somebody has asked since.
  void Hang() {
    std::unique_lock<std::mutex> lock(mu_);
    hangs_ = true;
    changed_.wait(lock, [this] { return !posted_.empty(); });
  }
  void Resume() {
    std::lock_guard<std::mutex> lock(mu_);
    hangs_ = false;
    changed_.notify_all();
  }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mu_);
    while (true) {
      changed_.wait(lock, [this] { return !hangs_ && !posted_.empty(); });
      const std::function<void()> fn = std::move(posted_.front());
      posted_.pop_front();
      if (!fn) return;
      lock.unlock();
      fn();
      lock.lock();
    }
  }

  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> posted_;
  bool hangs_ = false;
  std::thread thread_;
};

// One process of the service, in as far as that is possible within another.
struct Service {
  Service(const std::string& path, absl::Duration watch) {
    Options options;
    options.path = path;
    options.deadlines.watch = watch;
    // End() waits as long for a successor, which is this process.
    options.deadlines.drain = absl::Milliseconds(10);
    auto installed = SystemdNotifier::Install(options);
    EXPECT_TRUE(installed.ok()) << installed.status();
    notifier = *std::move(installed);
    auto started = Handoff::Start(std::move(options));
    EXPECT_TRUE(started.ok()) << started.status();
    handoff = *std::move(started);
    handoff->Register(&loop);
  }
  ~Service() {
    loop.Resume();
    EXPECT_TRUE(notifier->End().ok());
  }
  void Serve() {
    const absl::Status ready = handoff->Ready();
    ASSERT_TRUE(ready.ok()) << ready;
    notifier->Serve(*handoff);
  }

  std::unique_ptr<SystemdNotifier> notifier;
  Loop loop;
  std::unique_ptr<Handoff> handoff;
};

class NotifierTest : public testing::Test {
 protected:
  NotifierTest() {
    ::setenv("NOTIFY_SOCKET", address_.c_str(), 1);
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
  }
  ~NotifierTest() override { ::unsetenv("NOTIFY_SOCKET"); }

  // What comes, without the numbers that differ from time to time, up to the
  // first that `last` begins.
  std::vector<std::string> Until(const std::string& last) {
    std::vector<std::string> lines;
    while (!HasFailure()) {
      const ReceivedMessage message = manager_.Next();
      for (absl::string_view line : absl::StrSplit(message.bytes, '\n')) {
        if (absl::StartsWith(line, "MONOTONIC_USEC=")) line = "MONOTONIC_USEC=";
        lines.emplace_back(line);
      }
      if (absl::StartsWith(message.bytes, last)) break;
    }
    return lines;
  }

  TempFolder folder_;
  const std::string address_ = folder_ / "notify";
  const std::string path_ = folder_ / "h";
  FakeManager manager_{address_};
  const std::string me_ = absl::StrCat(::getpid());
};

constexpr absl::Duration kEver = absl::Hours(1);

TEST_F(NotifierTest, AServiceIsReadyAndThenStops) {
  Service service(path_, kEver);
  EXPECT_TRUE(manager_.HasNone());
  service.Serve();
  EXPECT_EQ(Until("READY"),
            (std::vector<std::string>{
                "READY=1", "STATUS=serving generation 1 with 0 sessions"}));
  service.handoff->Stop();
  EXPECT_EQ(*service.notifier->Wait(), Ended::kStopped);
  EXPECT_EQ(Until("STOPPING"), (std::vector<std::string>{
                                   "STOPPING=1", "EXTEND_TIMEOUT_USEC=10010000",
                                   "STATUS=draining"}));
}

TEST_F(NotifierTest, AHandoffIsAReloadAndEndsWithANewMainProcess) {
  Service first(path_, absl::Milliseconds(50));
  first.Serve();
  Until("READY");
  Service second(path_, kEver);
  second.Serve();
  // The manager reads only now and then: the last words wait for it.
  std::thread manager([this] {
    const std::vector<std::string> lines = Until("BARRIER");
    ASSERT_GE(lines.size(), 7u);
    EXPECT_EQ(lines[0], "RELOADING=1");
    EXPECT_EQ(lines[1], "MONOTONIC_USEC=");
    EXPECT_EQ(lines[2].rfind("STATUS=", 0), 0u) << lines[2];
    EXPECT_EQ(std::vector<std::string>(lines.end() - 5, lines.end()),
              (std::vector<std::string>{
                  absl::StrCat("MAINPID=", me_), "READY=1", "WATCHDOG=1",
                  absl::StrCat("STATUS=pid ", me_, " took over from pid ", me_),
                  "BARRIER=1"}));
  });
  EXPECT_EQ(*first.notifier->Wait(), Ended::kHandedOff);
  manager.join();
  EXPECT_TRUE(manager_.HasNone()) << "the successor is the same unit's: it is "
                                     "not ready a second time";
  second.handoff->Stop();
  EXPECT_EQ(*second.notifier->Wait(), Ended::kStopped);
  EXPECT_EQ(Until("STOPPING").front(), "STOPPING=1");
}

TEST_F(NotifierTest, AnAbortedHandoffEndsReadyAgain) {
  Service first(path_, kEver);
  first.Serve();
  Until("READY");
  {
    // As one that gives up: it is destroyed before Ready().
    Service second(path_, kEver);
    EXPECT_EQ(Until("RELOADING").front(), "RELOADING=1");
  }
  const std::vector<std::string> lines = Until("READY");
  EXPECT_EQ(lines[lines.size() - 2], "READY=1");
  EXPECT_TRUE(absl::StrContains(
      lines.back(), absl::StrCat("the handoff to pid ", me_, " was aborted: ")))
      << lines.back();
}

TEST_F(NotifierTest, AStopWithinTheWatchNamesWhoGoesOn) {
  Service first(path_, kEver);
  first.Serve();
  Until("READY");
  auto second = std::make_unique<Service>(path_, kEver);
  second->Serve();
  Until("STATUS=pid");
  std::thread manager([this] { Until("BARRIER"); });
  first.handoff->Stop();
  EXPECT_EQ(*first.notifier->Wait(), Ended::kStopped);
  manager.join();
  second->handoff->Stop();
}

TEST_F(NotifierTest, KeepalivesComeWhileTheLoopAnswers) {
  ::setenv("WATCHDOG_USEC", "60000", 1);
  Service service(path_, kEver);
  service.Serve();
  Until("READY");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Until("WATCHDOG").back(), "WATCHDOG=1");
  service.loop.Hang();
  while (!manager_.HasNone()) manager_.Next();
  EXPECT_TRUE(manager_.HasNone(/*milliseconds=*/200))
      << "a keepalive of a loop that hangs";
  service.loop.Resume();
  EXPECT_EQ(Until("WATCHDOG").back(), "WATCHDOG=1");
}

TEST_F(NotifierTest, TheWatchdogOfAnotherProcessIsNotServed) {
  ::setenv("WATCHDOG_USEC", "1000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  Service service(path_, kEver);
  service.Serve();
  Until("READY");
  service.handoff->Stop();
  EXPECT_EQ(*service.notifier->Wait(), Ended::kStopped);
  EXPECT_EQ(Until("STOPPING").front(), "STOPPING=1");
}

TEST_F(NotifierTest, ASuccessorTakesTheWatchdogOver) {
  ::setenv("WATCHDOG_USEC", "30000", 1);
  Service first(path_, kEver);
  ::setenv("WATCHDOG_PID", "1", 1);
  first.Serve();
  Until("READY");
  Service second(path_, kEver);
  second.Serve();
  first.handoff->Stop();
  std::thread manager([this] { Until("BARRIER"); });
  EXPECT_EQ(*first.notifier->Wait(), Ended::kStopped);
  manager.join();
  EXPECT_EQ(Until("WATCHDOG").back(), "WATCHDOG=1");
}

TEST(NoNotifierTest, WithoutAManagerEventsAreOnlyPassedOn) {
  ::unsetenv("NOTIFY_SOCKET");
  TempFolder folder;
  class Count : public Observer {
   public:
    void OnEvent(const Event&) override { ++events; }
    int events = 0;
  } count;
  Options options;
  options.path = folder / "h";
  options.observer = &count;
  auto notifier = SystemdNotifier::Install(options);
  ASSERT_TRUE(notifier.ok()) << notifier.status();
  auto handoff = Handoff::Start(std::move(options));
  ASSERT_TRUE(handoff.ok()) << handoff.status();
  ASSERT_TRUE((*handoff)->Ready().ok());
  (*notifier)->Serve(**handoff);
  (*handoff)->Stop();
  EXPECT_EQ(*(*notifier)->Wait(), Ended::kStopped);
  EXPECT_TRUE((*notifier)->End().ok());
  EXPECT_EQ(count.events, 1) << "started";
}

TEST(NoNotifierTest, VariablesThatMakeNoSenseAreRefused) {
  Options options;
  ::setenv("WATCHDOG_USEC", "soon", 1);
  EXPECT_TRUE(
      absl::IsInvalidArgument(SystemdNotifier::Install(options).status()));
  ::unsetenv("WATCHDOG_USEC");
  EXPECT_EQ(options.observer, nullptr);
}

}  // namespace
}  // namespace handoff
