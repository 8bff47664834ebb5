// Runs the command itself against an admin endpoint: each verb over a real
// connection, for what it says and for its exit code.

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/transport/unix_path.h"
#include "proto/admin.pb.h"
#include "tools/fake_admin_server.h"
#include "tools/run_command.h"

namespace handoff {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class AdminCommandTest : public ::testing::Test {
 protected:
  AdminCommandTest() : server_(Target()) {}

  std::string Target() const { return "unix:" + (folder_ / "admin"); }

  // The verb and its options, at the server.
  std::vector<std::string> At(std::vector<std::string> arguments) const {
    arguments.push_back("--admin=" + Target());
    return arguments;
  }
  CommandResult Run(const std::vector<std::string>& arguments) const {
    return RunCommand(At(arguments));
  }

  // What it says where it is done.
  std::string Done(const std::vector<std::string>& arguments) const {
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments.front() << ": " << result.err;
    return result.out;
  }

  // Each line of it is a message of this type.
  template <typename Message>
  std::vector<Message> Json(std::vector<std::string> arguments,
                            int exit_code = 0) const {
    arguments.push_back("--format=json");
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_EQ(result.err, "");
    std::vector<Message> messages;
    for (const absl::string_view line :
         absl::StrSplit(result.out, '\n', absl::SkipEmpty())) {
      Message message;
      EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(std::string(line),
                                                              &message)
                      .ok())
          << line;
      messages.push_back(std::move(message));
    }
    return messages;
  }

  TempFolder folder_;
  FakeAdminServer server_;
};

TEST_F(AdminCommandTest, StatusListAndLedgerComeFromTheEndpoint) {
  EXPECT_THAT(Done({"status"}), HasSubstr("pid:          4821\n"));
  EXPECT_EQ(
      Done({"list"}),
      "CATEGORY  NAME  SESSION  AGE   HANDOFFS  DESCRIPTORS\n"
      "listener  http  -        -     -         tcp-listener 0.0.0.0:80\n"
      "session   chat  17       1m5s  0         client=tcp 10.0.0.1:80 <- "
      "10.0.0.9:17\n"
      "session   chat  18       1m5s  0         client=tcp 10.0.0.1:80 <- "
      "10.0.0.9:18\n"
      "session   chat  19       1m5s  0         client=tcp 10.0.0.1:80 <- "
      "10.0.0.9:19\n"
      "    cannot move: TLS without kernel TLS\n");
  EXPECT_THAT(Done({"list", "--details"}), HasSubstr("queues 0 in, 12 out"));
  EXPECT_EQ(Done({"ledger"}), "no handoff yet\n");
  Done({"upgrade"});
  EXPECT_THAT(Done({"ledger"}), HasSubstr("handoff 77 committed"));
  EXPECT_THAT(Done({"ledger"}), HasSubstr("    listener http\n"));
}

TEST_F(AdminCommandTest, JsonIsTheResponsesALineForEach) {
  const auto status = Json<admin::v1::GetStatusResponse>({"status"});
  ASSERT_EQ(status.size(), 1u);
  EXPECT_EQ(status.front().pid(), 4821);

  const CommandResult list = Run({"list", "--format=json"});
  EXPECT_THAT(list.out, StartsWith("{\"descriptors\":[{\"category\":"));
  EXPECT_EQ(std::count(list.out.begin(), list.out.end(), '\n'), 4)
      << "a page of descriptors and three of sessions";

  const auto upgrade = Json<admin::v1::StartHandoffResponse>({"upgrade"});
  ASSERT_EQ(upgrade.size(), 4u);
  EXPECT_EQ(upgrade.front().progress().phase(), "pre-copy");
  EXPECT_EQ(upgrade.back().result().result(), "committed");
  EXPECT_EQ(Json<admin::v1::GetLedgerResponse>({"ledger"}).size(), 2u);
  EXPECT_EQ(Json<admin::v1::DrainResponse>({"drain", "--all"}).size(), 1u);
  EXPECT_EQ(Json<admin::v1::LockResponse>({"lock", "--reason=x"})
                .front()
                .lock()
                .reason(),
            "x");
  EXPECT_EQ(Json<admin::v1::UnlockResponse>({"unlock"}).size(), 1u);
  EXPECT_EQ(Json<admin::v1::SetAcceptingResponse>({"accept", "on"}).size(), 1u);
}

TEST_F(AdminCommandTest, AnUpgradeShowsEachPhaseAndItsResult) {
  const CommandResult result = Run({"upgrade", "--exe=/opt/new"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err,
            "pre-copy, 0 of 3 sessions\nstaging, 3 of 3 sessions\n"
            "changes, done in 0.002 s\nfrozen, done in 0.001 s\n");
  EXPECT_THAT(result.out, StartsWith("handoff 77 committed"));
  EXPECT_THAT(result.out, EndsWith("  moved 3\n"));
}

TEST_F(AdminCommandTest, AnUpgradeThatIsAbortedExitsWith5) {
  const CommandResult result = Run({"upgrade", "--exe=/opt/broken"});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.out, HasSubstr("aborted"));
  EXPECT_THAT(result.out, HasSubstr("  reason: the successor refused it\n"));
  EXPECT_EQ(
      Json<admin::v1::StartHandoffResponse>({"upgrade", "--exe=/opt/broken"}, 5)
          .back()
          .result()
          .result(),
      "aborted");
  ExpectFailure(Run({"upgrade", "--exe=/opt/crashing"}), 5,
                "the successor has ended; see its own log");
}

TEST_F(AdminCommandTest, AnOperatorAbortsTheHandoffThatIsUnderWay) {
  ExpectFailure(Run({"abort"}), 1, "no handoff is under way");
  server_.Hold();
  RunningCommand upgrade(At({"upgrade", "--wait", "--format=json"}));
  while (upgrade.ReadLine().find("staging") == std::string::npos) {
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_THAT(Done({"status"}), HasSubstr("handoff:      77, "));
  EXPECT_EQ(Done({"abort", "--reason=not today"}), "the handoff is aborted\n");
  const CommandResult result = upgrade.End();
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(result.out, HasSubstr("an operator: not today"));
}

TEST_F(AdminCommandTest, AnUpgradeThatTakesLongerThanItsTimeoutExitsWith3) {
  server_.Hold();
  const CommandResult result = Run({"upgrade", "--timeout=2s"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("goes on: follow it"));
  EXPECT_EQ(result.out, "");
}

TEST_F(AdminCommandTest, ARehearsalSaysWhatWouldNotMove) {
  EXPECT_THAT(Done({"rehearse"}), StartsWith("rehearsal 77 passed"));
  const CommandResult result = Run({"rehearse", "--exe=/opt/broken"});
  EXPECT_EQ(result.exit_code, 1) << "it is no handoff that was aborted";
  EXPECT_THAT(result.out, StartsWith("rehearsal 77 failed"));
  EXPECT_THAT(result.out, HasSubstr("session 17: no such state"));
  EXPECT_THAT(result.err, HasSubstr("rehearsal: staging"));
  ExpectFailure(Run({"rehearse", "--exe=/opt/crashing"}), 1,
                "the successor has ended");
}

TEST_F(AdminCommandTest, ALockRefusesHandoffsWithItsReason) {
  EXPECT_EQ(Done({"lock", "--reason=a fair", "--expiry=2h"}),
            "locked until: 1970-01-01T02:00:00Z: a fair\n");
  EXPECT_THAT(Done({"status"}), HasSubstr("locked until: "));
  ExpectFailure(Run({"upgrade"}), 1, "handoffs are locked: a fair");
  EXPECT_EQ(Done({"unlock"}), "unlocked\n");
  ExpectFailure(Run({"unlock"}), 1, "there is no lock");
  Done({"upgrade"});
}

TEST_F(AdminCommandTest, DrainsSomeOrAllSessions) {
  EXPECT_EQ(Done({"drain", "--session=17", "--session=18"}),
            "asked 2, ended 2, cut off 0\n");
  EXPECT_THAT(Done({"status"}), HasSubstr("sessions:     1\n"));
  EXPECT_EQ(Done({"drain", "--all", "--deadline=500ms"}),
            "asked 1, ended 0, cut off 1\n");
}

TEST_F(AdminCommandTest, SwitchesAcceptingOffAndOn) {
  EXPECT_EQ(Done({"accept", "off"}), "not accepting\n");
  EXPECT_THAT(Done({"status"}), HasSubstr("accepting:    no\n"));
  EXPECT_EQ(Done({"accept", "on"}), "accepting\n");
  EXPECT_THAT(Done({"status"}), HasSubstr("accepting:    yes\n"));
}

TEST_F(AdminCommandTest, WhatIsNotAllowedExitsWith4) {
  ExpectFailure(Run({"upgrade", "--exe=/bin/sh"}), 4, "not on the list");
  server_.AllowReadingOnly();
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"upgrade"},
        {"rehearse"},
        {"drain", "--all"},
        {"abort"},
        {"lock", "--reason=x"},
        {"unlock"},
        {"accept", "off"}}) {
    ExpectFailure(Run(arguments), 4, "call as an operator");
  }
  Done({"status"});
}

TEST_F(AdminCommandTest, NobodyThereExitsWith3) {
  ExpectFailure(RunCommand({"status", "--admin=unix:" + (folder_ / "other")}),
                3, "No such file or directory; check that the service runs");
  ExpectFailure(RunCommand({"watch", "--admin=unix:" + (folder_ / "other")}), 3,
                "check that the service runs");
  ExpectFailure(RunCommand({"list", "--admin=tcp:127.0.0.1:1",
                            "--admin_insecure_plaintext_tcp"}),
                3, "check that the service runs");
  ExpectFailure(RunCommand({"list", "--admin=unix:/" + std::string(200, 'x')}),
                1, "check the path");
}

TEST_F(AdminCommandTest, AProcessThatHangsExitsWith3) {
  const std::string path = folder_ / "hangs";
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(ListenAndRename(listener.get(), path, ".new", 10, true).ok());
  ExpectFailure(
      RunCommand({"status", "--admin=unix:" + path, "--timeout=200ms"}), 3,
      "try a longer --timeout");
}

TEST_F(AdminCommandTest, TheEnvironmentNamesTheEndpoint) {
  const std::string variable = "HANDOFF_ADMIN=" + Target();
  EXPECT_THAT(RunCommand({"status"}, -1, {variable}).out, HasSubstr("4821"));
  ExpectFailure(RunCommand({"status", "--handoff=/nowhere"}, -1, {variable}), 3,
                "handoff socket");
}

TEST_F(AdminCommandTest, AReaderThatHasReadEnoughIsNoFailure) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"list"},
        {"upgrade"},
        {"watch", "--after=0", "--format=json"}}) {
    server_.AddEvent("note", "x", 1);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    ::close(ends[0]);
    const CommandResult result = RunCommand(At(arguments), ends[1]);
    EXPECT_EQ(result.exit_code, 0) << arguments.front() << ": " << result.err;
  }
}

TEST_F(AdminCommandTest, WatchSaysWhatHappensFromNowOnUntilItIsInterrupted) {
  server_.AddEvent("note", "long ago", 10);
  RunningCommand watch(At({"watch"}));
  ASSERT_TRUE(server_.AwaitWatchers(1));
  server_.AddEvent("audit", "somebody\ndid", 11);
  EXPECT_EQ(watch.ReadLine(),
            "11 1970-01-01T00:00:00Z audit pid 0 generation 0: "
            "somebody\\x0adid");
  watch.Signal(SIGINT);
  const CommandResult result = watch.End();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out + result.err, "");
}

TEST_F(AdminCommandTest, WatchBeginsWhereItIsToldAndSaysWhatIsGone) {
  server_.AddEvent("started", "", 10);
  server_.AddEvent("audit", "", 11);
  server_.AddEvent("committed", "", 12);
  RunningCommand one(At({"watch", "--after=10", "--kind=committed"}));
  EXPECT_THAT(one.ReadLine(), StartsWith("12 "));
  server_.Forget(11);
  RunningCommand other(At({"watch", "--after=0"}));
  EXPECT_EQ(other.ReadLine(), "missed: some events up to 11 are gone");
  EXPECT_THAT(other.ReadLine(), StartsWith("12 "));
}

TEST(WatchCommandTest, GoesOnAtTheSuccessor) {
  TempFolder folder;
  const std::string target = "unix:" + (folder / "admin");
  auto predecessor = std::make_unique<FakeAdminServer>(target);
  predecessor->AddEvent("started", "", 10);
  RunningCommand watch({"watch", "--after=0", "--kind=committed",
                        "--format=json", "--timeout=30s", "--admin=" + target});
  ASSERT_TRUE(predecessor->AwaitWatchers(1));
  predecessor->AddEvent("committed", "first", 11);
  EXPECT_THAT(watch.ReadLine(), HasSubstr("first"));
  // Is not printed, but is where it goes on.
  predecessor->AddEvent("note", "", 12);
  predecessor.reset();

  FakeAdminServer successor(target);
  successor.AddEvent("committed", "twice", 12);
  successor.AddEvent("committed", "second", 20);
  EXPECT_THAT(watch.ReadLine(), HasSubstr("second"));
  watch.Signal(SIGINT);
  EXPECT_EQ(watch.End().exit_code, 0);
}

TEST(WatchCommandTest, LosesNothingWhereItHasSeenNothingBeforeAHandoff) {
  TempFolder folder;
  const std::string target = "unix:" + (folder / "admin");
  auto predecessor = std::make_unique<FakeAdminServer>(target);
  predecessor->AddEvent("note", "long ago", 10);
  RunningCommand watch({"watch", "--timeout=30s", "--admin=" + target});
  ASSERT_TRUE(predecessor->AwaitWatchers(1));
  predecessor.reset();

  FakeAdminServer successor(target);
  successor.AddEvent("note", "long ago", 10);
  successor.AddEvent("committed", "before anybody asked", 20);
  EXPECT_THAT(watch.ReadLine(), HasSubstr("before anybody asked"));
  watch.Signal(SIGINT);
  EXPECT_EQ(watch.End().exit_code, 0);
}

TEST(WatchCommandTest, GivesUpWhereTheServiceStaysAway) {
  TempFolder folder;
  const std::string target = "unix:" + (folder / "admin");
  auto server = std::make_unique<FakeAdminServer>(target);
  RunningCommand watch(
      {"watch", "--after=0", "--timeout=300ms", "--admin=" + target});
  ASSERT_TRUE(server->AwaitWatchers(1));
  server->AddEvent("note", "", 1);
  EXPECT_THAT(watch.ReadLine(), StartsWith("1 "));
  server.reset();
  const CommandResult result = watch.End();
  ExpectFailure(result, 3, "");
}

}  // namespace
}  // namespace handoff
