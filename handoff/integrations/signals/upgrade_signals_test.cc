#include "handoff/integrations/signals/upgrade_signals.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"

namespace handoff {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr char kStarted[] = "audit SIGUSR2: a successor is started";

volatile sig_atomic_t own_handler_ran = 0;
void OwnHandler(int) { own_handler_ran = 1; }

using Handler = void (*)(int);
Handler HandlerOf(int signal) {
  struct sigaction action = {};
  ::sigaction(signal, nullptr, &action);
  return action.sa_handler;
}

// A service that has a shell in place of its next binary. Each test has its
// signals as they were when the process began.
class UpgradeSignalsTest : public testing::Test {
 protected:
  UpgradeSignalsTest() { ::pthread_sigmask(SIG_SETMASK, nullptr, &mask_); }
  ~UpgradeSignalsTest() override {
    // Of what this thread has left pending, nothing is to act.
    for (const int signal : {SIGHUP, SIGUSR1, SIGUSR2}) {
      ::signal(signal, SIG_IGN);
      ::signal(signal, SIG_DFL);
    }
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }

  void Serve(const std::string& script) {
    Options options;
    options.path = folder_ / "h";
    options.executable = "/bin/sh";
    options.arguments = {"sh", "-c", script};
    auto started = Handoff::Start(std::move(options));
    ASSERT_TRUE(started.ok()) << started.status();
    handoff_ = *std::move(started);
    ASSERT_TRUE(handoff_->Ready().ok());
  }
  // Waits for an event whose kind and text begin so, each found once: that
  // line, or empty. Those of the child and of the signal come in any order.
  std::string Await(const std::string& start) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (true) {
      for (std::string& line : lines_) {
        if (absl::StartsWith(line, start)) return std::exchange(line, "");
      }
      const EventLog::Batch batch = handoff_->control().events().Read(seen_, 1);
      if (batch.events.empty()) {
        if (absl::Now() > deadline) return "";
        handoff_->control().events().WaitFor(seen_, deadline);
        continue;
      }
      seen_ = batch.events.front().sequence();
      lines_.push_back(absl::StrCat(batch.events.front().kind(), " ",
                                    batch.events.front().text()));
      said_ += lines_.back() + "\n";
    }
  }
  // How the next child ends: "exited with code 7".
  std::string AwaitChild() {
    const std::string line = Await("child-ended pid ");
    const size_t how = line.find(' ', sizeof("child-ended pid ") - 1);
    return how == std::string::npos ? line : line.substr(how + 1);
  }
  static void Block(int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }

  TempFolder folder_;
  std::unique_ptr<Handoff> handoff_;
  std::string said_;

 private:
  std::vector<std::string> lines_;
  sigset_t mask_;
  uint64_t seen_ = 0;
};

TEST_F(UpgradeSignalsTest, EachSignalStartsASuccessorAndSaysSo) {
  Serve("exit 7");
  auto signals = UpgradeSignals::Install(*handoff_);
  ASSERT_TRUE(signals.ok()) << signals.status();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(::kill(::getpid(), SIGUSR2), 0);
    EXPECT_NE(Await(kStarted), "") << said_;
    EXPECT_EQ(AwaitChild(), "exited with code 7") << said_;
  }
}

TEST_F(UpgradeSignalsTest, AnotherSignalCanBeMapped) {
  Serve("exit 0");
  auto signals = UpgradeSignals::Install(*handoff_, {SIGHUP});
  ASSERT_TRUE(signals.ok()) << signals.status();
  EXPECT_EQ(HandlerOf(SIGUSR2), SIG_DFL) << "nobody asked for it";
  ASSERT_EQ(::kill(::getpid(), SIGHUP), 0);
  EXPECT_NE(Await("audit SIGHUP: a successor is started"), "") << said_;
  EXPECT_EQ(AwaitChild(), "exited with code 0") << said_;
}

TEST_F(UpgradeSignalsTest, ASecondSignalWhileAChildRunsIsRefused) {
  const std::string fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  Serve("cat < " + fifo);
  auto signals = UpgradeSignals::Install(*handoff_);
  ASSERT_TRUE(signals.ok()) << signals.status();
  ASSERT_EQ(::kill(::getpid(), SIGUSR2), 0);
  EXPECT_NE(Await(kStarted), "") << said_;
  ASSERT_EQ(::kill(::getpid(), SIGUSR2), 0);
  EXPECT_NE(
      Await("audit SIGUSR2: no successor is started: FAILED_PRECONDITION: a "
            "successor was started and still runs"),
      "")
      << said_;
  ::close(::open(fifo.c_str(), O_WRONLY));
  EXPECT_EQ(AwaitChild(), "exited with code 0") << said_;
}

TEST_F(UpgradeSignalsTest, NoSuchSignalEndsTheChildFromExecOn) {
  // A shell cannot change what it began with ignored.
  Serve("trap 'exit 1' USR2; kill -USR2 $$; kill -HUP $$; exit 5");
  auto signals = UpgradeSignals::Install(*handoff_, {SIGUSR2, SIGHUP});
  ASSERT_TRUE(signals.ok()) << signals.status();
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(::kill(::getpid(), SIGHUP), 0) << "the handler is still there";
    EXPECT_EQ(AwaitChild(), "exited with code 5") << said_;
  }
  signals->reset();
  ASSERT_TRUE(handoff_->StartSuccessor().ok());
  EXPECT_EQ(AwaitChild(), "exited with code 1")
      << "without the integration nothing is ignored: " << said_;
}

TEST_F(UpgradeSignalsTest, ArrivesWhereEveryThreadOfTheServiceBlocksIt) {
  Block(SIGUSR2);  // of the threads too that are made from here on
  Serve("exit 0");
  auto signals = UpgradeSignals::Install(*handoff_);
  ASSERT_TRUE(signals.ok()) << signals.status();
  ASSERT_EQ(::kill(::getpid(), SIGUSR2), 0);
  EXPECT_NE(Await(kStarted), "") << said_;
  EXPECT_EQ(AwaitChild(), "exited with code 0") << said_;
  sigset_t now;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR2), 1) << "the service's mask is its own";
}

TEST_F(UpgradeSignalsTest, WhatCameBeforeIsThrownAway) {
  Block(SIGUSR2);  // of the threads too that are made from here on
  Serve("exit 0");
  ASSERT_EQ(::kill(::getpid(), SIGUSR2), 0);
  auto signals = UpgradeSignals::Install(*handoff_);
  ASSERT_TRUE(signals.ok()) << signals.status();
  sigset_t pending;
  ASSERT_EQ(::sigpending(&pending), 0);
  EXPECT_EQ(sigismember(&pending, SIGUSR2), 0);
  ASSERT_EQ(::kill(::getpid(), SIGUSR2), 0);
  EXPECT_NE(Await("audit "), "") << said_;
  EXPECT_EQ(AwaitChild(), "exited with code 0") << said_;
  signals->reset();
  handoff_->control().Audit("the end");
  EXPECT_NE(Await("audit the end"), "") << said_;
  const size_t first = said_.find(kStarted);
  EXPECT_EQ(said_.find(kStarted, first + 1), std::string::npos) << said_;
}

TEST_F(UpgradeSignalsTest, TheServicesOwnHandlersAndSignalfdsGoOn) {
  ::signal(SIGUSR1, OwnHandler);
  Block(SIGHUP);
  sigset_t hangup;
  sigemptyset(&hangup);
  sigaddset(&hangup, SIGHUP);
  const UniqueFd signals_of_service(::signalfd(-1, &hangup, SFD_CLOEXEC));
  Serve("exit 0");
  auto signals = UpgradeSignals::Install(*handoff_);
  ASSERT_TRUE(signals.ok()) << signals.status();

  ASSERT_EQ(::kill(::getpid(), SIGHUP), 0);
  signalfd_siginfo info = {};
  ASSERT_EQ(::read(signals_of_service.get(), &info, sizeof(info)),
            static_cast<ssize_t>(sizeof(info)));
  EXPECT_EQ(info.ssi_signo, static_cast<uint32_t>(SIGHUP));
  // Only this thread has it unblocked, so it has run when kill() returns.
  ASSERT_EQ(::kill(::getpid(), SIGUSR1), 0);
  EXPECT_EQ(own_handler_ran, 1);
}

TEST_F(UpgradeSignalsTest, ASignalThatTheServiceHandlesIsLeftToIt) {
  ::signal(SIGUSR2, OwnHandler);
  Serve("exit 0");
  auto signals = UpgradeSignals::Install(*handoff_, {SIGHUP, SIGUSR2});
  EXPECT_EQ(signals.status(),
            absl::AlreadyExistsError("the service has a handler for SIGUSR2"));
  EXPECT_EQ(HandlerOf(SIGUSR2), OwnHandler);
  EXPECT_EQ(HandlerOf(SIGHUP), SIG_DFL);
}

TEST_F(UpgradeSignalsTest, ThereIsOneAtATime) {
  Serve("exit 0");
  auto signals = UpgradeSignals::Install(*handoff_);
  ASSERT_TRUE(signals.ok()) << signals.status();
  EXPECT_EQ(UpgradeSignals::Install(*handoff_, {SIGHUP}).status().code(),
            absl::StatusCode::kAlreadyExists);
  signals->reset();
  EXPECT_TRUE(UpgradeSignals::Install(*handoff_, {SIGHUP}).ok());
}

TEST_F(UpgradeSignalsTest, WhatCannotBeHandledIsRefused) {
  Serve("exit 0");
  for (const std::vector<int>& wrong : std::vector<std::vector<int>>{
           {}, {0}, {-1}, {SIGUSR2, SIGKILL}, {SIGRTMIN}, {4'711}}) {
    EXPECT_EQ(UpgradeSignals::Install(*handoff_, wrong).status().code(),
              absl::StatusCode::kInvalidArgument)
        << testing::PrintToString(wrong);
    EXPECT_EQ(HandlerOf(SIGUSR2), SIG_DFL) << testing::PrintToString(wrong);
  }
}

TEST_F(UpgradeSignalsTest, AtTheEndTheSignalsAreAsTheyWere) {
  Serve("exit 0");
  ::signal(SIGUSR2, SIG_IGN);
  auto signals = UpgradeSignals::Install(*handoff_, {SIGUSR2, SIGHUP});
  ASSERT_TRUE(signals.ok()) << signals.status();
  signals->reset();
  EXPECT_EQ(HandlerOf(SIGUSR2), SIG_IGN);
  EXPECT_EQ(HandlerOf(SIGHUP), SIG_DFL);

  signals = UpgradeSignals::Install(*handoff_, {SIGUSR2, SIGHUP});
  ASSERT_TRUE(signals.ok()) << signals.status();
  ::signal(SIGUSR2, OwnHandler);
  signals->reset();
  EXPECT_EQ(HandlerOf(SIGUSR2), OwnHandler) << "changed by the service";
}

}  // namespace
}  // namespace handoff
