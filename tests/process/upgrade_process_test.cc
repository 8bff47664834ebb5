// A tool at the handoff socket has real processes start their successors.

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "handoff/query.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

using ::testing::HasSubstr;

class UpgradeTest : public testing::Test {
 protected:
  Settings With(const Settings& more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"}, {"watch", "60s"},
                         {"exe", "/proc/self/exe"},  {"hello", "30s"},
                         {"frame", "30s"},           {"staging", "30s"},
                         {"quiesce", "30s"},         {"frozen", "30s"},
                         {"released", "30s"}};
    for (const auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  absl::StatusOr<v1::LedgerHandoff> Upgrade(const std::string& exe = "") {
    return AskToUpgrade(folder_ / "h", exe, kPatience,
                        [this](const v1::HandoffProgress& progress) {
                          progress_.push_back(progress);
                        });
  }
  // A program in the folder.
  std::string Script(const std::string& text) const {
    const std::string path = folder_ / "script";
    std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
    EXPECT_EQ(::chmod(path.c_str(), 0700), 0);
    return path;
  }

  ShortFolder folder_;
  std::vector<v1::HandoffProgress> progress_;
};

TEST_F(UpgradeTest, TheProcessStartsItsSuccessorAndSaysWhatBecameOfIt) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient client(first.port());
  EXPECT_EQ(client.Ask("echo a"), "echo a");

  const auto handoff = Upgrade();
  ASSERT_TRUE(handoff.ok()) << handoff.status();
  EXPECT_EQ(handoff->result(), "committed") << handoff->reason();
  EXPECT_EQ(handoff->predecessor_pid(), first.pid());
  EXPECT_EQ(handoff->generation(), 2u);
  EXPECT_EQ(handoff->entries_size(), 0);
  ASSERT_EQ(Who(client).front(), std::to_string(handoff->successor_pid()));
  EXPECT_NE(first.WaitFor("event audit upgrade to its own executable, asked by "
                          "pid " +
                          std::to_string(::getpid())),
            "")
      << first.Said();
}

TEST_F(UpgradeTest, TheAnswerComesAlsoWhereTheProcessEndsAtOnce) {
  for (int i = 0; i < 5; ++i) {
    const ShortFolder folder;
    ToyProcess first(With({{"watch", "1ms"}, {"handoff", folder / "h"}}));
    ASSERT_TRUE(first.WaitReady()) << first.Said();
    const auto handoff = AskToUpgrade(folder / "h", "", kPatience,
                                      [](const v1::HandoffProgress&) {});
    ASSERT_TRUE(handoff.ok()) << handoff.status() << first.Said();
    EXPECT_EQ(handoff->result(), "committed");
    EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  }
}

TEST_F(UpgradeTest, AnAbortedHandoffIsAnAnswer) {
  ToyProcess first(With({{"fail_restore", "1"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  const auto handoff = Upgrade();
  ASSERT_TRUE(handoff.ok()) << handoff.status() << first.Said();
  EXPECT_EQ(handoff->result(), "aborted") << first.Said();
  EXPECT_NE(handoff->reason(), "");
  ToyClient client(first.port());
  EXPECT_EQ(Who(client).front(), std::to_string(first.pid()));
}

TEST_F(UpgradeTest, AProgramThatTakesNothingOverIsSaidToHaveEnded) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  const auto handoff = Upgrade(Script("exit 9"));
  EXPECT_EQ(handoff.status().code(), absl::StatusCode::kAborted);
  EXPECT_THAT(
      std::string(handoff.status().message()),
      ::testing::MatchesRegex("the successor that was started has ended before "
                              "it took anything over: pid [0-9]+ exited with "
                              "code 9"));
  const auto missing = Upgrade(folder_ / "nothing");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr("nothing: No such file"));
  const auto handoff_after = Upgrade();
  ASSERT_TRUE(handoff_after.ok()) << handoff_after.status();
  EXPECT_EQ(handoff_after->result(), "committed") << "it goes on as before";
}

TEST_F(UpgradeTest, WhoGivesUpEndsNothingAndASecondIsRefusedMeanwhile) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  const std::string hangs = Script("kill -STOP $$");
  absl::Status gave_up;
  std::thread tool([&] {
    gave_up = AskToUpgrade(folder_ / "h", hangs, absl::Seconds(2),
                           [](const v1::HandoffProgress&) {})
                  .status();
  });
  const std::string started = first.WaitFor("event note started ");
  tool.join();
  EXPECT_EQ(gave_up.code(), absl::StatusCode::kDeadlineExceeded) << gave_up;
  EXPECT_EQ(Upgrade().status(), absl::FailedPreconditionError(
                                    "a successor was started and still runs"));
  pid_t pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(started.substr(started.rfind(' ') + 1), &pid))
      << started << first.Said();
  ASSERT_NE(pid, 0);
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  EXPECT_NE(first.WaitFor("event child-ended "), "") << first.Said();
  const auto handoff = Upgrade();
  ASSERT_TRUE(handoff.ok()) << handoff.status();
  EXPECT_EQ(handoff->result(), "committed");
}

TEST_F(UpgradeTest, ARelativePathIsRefused) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  EXPECT_EQ(Upgrade("bin/server").status(),
            absl::InvalidArgumentError("what is executed is named by a path "
                                       "that begins with a slash"));
}

TEST_F(UpgradeTest, AProcessThatStopsSaysSo) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  const std::string hangs = Script("kill -STOP $$");
  absl::Status told;
  std::thread tool([&] {
    told = AskToUpgrade(folder_ / "h", hangs, kPatience,
                        [](const v1::HandoffProgress&) {})
               .status();
  });
  EXPECT_NE(first.WaitFor("event note started "), "") << first.Said();
  first.Signal(SIGTERM);
  EXPECT_EQ(first.WaitExit(), 3) << first.Said();
  tool.join();
  EXPECT_EQ(told, absl::UnavailableError("the process ends"));
}

}  // namespace
}  // namespace handoff::toy
