// Runs the command itself, for each of its exit codes.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "handoff/fake_query_server.h"
#include "proto/handoff.pb.h"
#include "tools/run_command.h"

namespace handoff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Option(const FakeQueryServer& server) {
  return absl::StrCat("--handoff=", server.path());
}

v1::QueryReply SomeReply() {
  v1::QueryReply reply;
  reply.mutable_status()->set_pid(4321);
  reply.mutable_status()->set_label("v2");
  v1::InventoryItem& item = *reply.add_items();
  item.set_category("listener");
  item.set_name("http");
  reply.add_handoffs()->set_handoff_id(77);
  return reply;
}

TEST(HandoffCommandTest, EachVerbPrintsItsAnswer) {
  FakeQueryServer server(FakeQueryServer::Answer({SomeReply()}));
  const std::vector<std::pair<std::string, std::string>> verbs = {
      {"status", "pid:          4321\n"},
      {"list", "\nlistener  http "},
      {"ledger", "handoff 77 "},
  };
  for (const auto& [verb, text] : verbs) {
    const CommandResult result = RunCommand({verb, Option(server)});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr(text));
    EXPECT_EQ(result.err, "");
  }
}

TEST(HandoffCommandTest, JsonIsOneLineWithEveryField) {
  FakeQueryServer server(FakeQueryServer::Answer({SomeReply()}));
  for (const char* verb : {"status", "list", "ledger"}) {
    const CommandResult result =
        RunCommand({"--format=json", verb, Option(server)});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.out, StartsWith("{\"status\":{\"pid\":\"4321\","));
    EXPECT_THAT(result.out, HasSubstr("\"openDescriptors\":\"0\""));
    EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 1);
  }
}

TEST(HandoffCommandTest, HelpIsNoFailure) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"help"}, {"help", "ledger"}}) {
    const CommandResult result = RunCommand(arguments);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.out, HasSubstr("usage: handoff"));
    EXPECT_EQ(result.err, "");
  }
}

TEST(HandoffCommandTest, AWrongCommandLineExitsWith2) {
  ExpectFailure(RunCommand({}), 2, "see handoff help");
  ExpectFailure(RunCommand({"frob"}), 2, "unknown verb 'frob'");
  ExpectFailure(RunCommand({"status"}), 2, "--handoff");
  ExpectFailure(RunCommand({"rehearse", "--handoff=x"}), 2, "-- COMMAND");
  ExpectFailure(RunCommand({"status", "--handoff=x", "--frob"}), 2, "--frob");
  ExpectFailure(RunCommand({"help", "frob"}), 2, "not 'frob'");
  ExpectFailure(RunCommand({"--handoff=x", "drain", "--all"}), 2,
                "needs --admin");
  ExpectFailure(RunCommand({"--handoff=x", "upgrade", "--wait"}), 2,
                "needs --admin");
  ExpectFailure(RunCommand({"a\nhandoff: b"}), 2, "a\\x0ahandoff: b");
}

TEST(HandoffCommandTest, NobodyThereExitsWith3) {
  FakeQueryServer server(FakeQueryServer::Hang);
  ExpectFailure(RunCommand({"status", Option(server) + "-other"}), 3,
                "check that the service runs");
}

TEST(HandoffCommandTest, NoAnswerInTimeExitsWith3) {
  FakeQueryServer server(FakeQueryServer::Hang);
  ExpectFailure(RunCommand({"status", Option(server), "--timeout=50ms"}), 3,
                "--timeout");
}

TEST(HandoffCommandTest, ABusyOrVanishedProcessExitsWith3) {
  FakeQueryServer busy(FakeQueryServer::Refuse(v1::Refuse::BUSY, "stopping"));
  ExpectFailure(RunCommand({"list", Option(busy)}), 3, "stopping; try again");
  FakeQueryServer vanished([](Channel&) {});
  ExpectFailure(RunCommand({"list", Option(vanished)}), 3, "try again");
}

TEST(HandoffCommandTest, ARefusalOfOurIdentityExitsWith4) {
  FakeQueryServer server(FakeQueryServer::Refuse(
      v1::Refuse::CREDENTIALS, "user 5 is not\nhandoff: trusted"));
  ExpectFailure(RunCommand({"ledger", Option(server)}), 4,
                "user 5 is not\\x0ahandoff: trusted; run this as");
}

TEST(HandoffCommandTest, AnythingElseExitsWith1) {
  FakeQueryServer server(
      FakeQueryServer::Refuse(v1::Refuse::VERSION, "version 9"));
  ExpectFailure(RunCommand({"status", Option(server)}), 1, "version 9");
  FakeQueryServer nonsense(FakeQueryServer::Answer({v1::QueryReply()}));
  ExpectFailure(RunCommand({"status", Option(nonsense)}), 1, "malformed");
  ExpectFailure(RunCommand({"status", "--handoff=/" + std::string(200, 'x')}),
                1, "check the path");
}

v1::QueryReply Ended(const std::string& result) {
  v1::QueryReply reply;
  reply.add_handoffs()->set_handoff_id(77);
  reply.mutable_handoffs(0)->set_result(result);
  return reply;
}

v1::QueryReply Staging() {
  v1::QueryReply reply;
  reply.mutable_progress()->set_handoff_id(77);
  reply.mutable_progress()->set_phase("staging");
  reply.mutable_progress()->set_sessions_total(8);
  return reply;
}

TEST(HandoffCommandTest, AnUpgradeAtTheSocketIsFollowedToItsEnd) {
  FakeQueryServer server(FakeQueryServer::Answer(
      {v1::QueryReply(), Staging(), Ended("committed")}));
  const CommandResult result = RunCommand({"upgrade", Option(server)});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("handoff 77 committed "));
  EXPECT_THAT(result.err, HasSubstr("staging"));
  const CommandResult json =
      RunCommand({"upgrade", "--format=json", Option(server)});
  EXPECT_EQ(json.exit_code, 0) << json.err;
  EXPECT_THAT(json.out, HasSubstr("\"result\":\"committed\""));
  EXPECT_EQ(json.err, "");
}

TEST(HandoffCommandTest, AnUpgradeThatIsAbortedExitsWith5) {
  FakeQueryServer server(FakeQueryServer::Answer({Ended("aborted")}));
  const CommandResult result =
      RunCommand({"upgrade", "--exe=/opt/new", Option(server)});
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(result.out, StartsWith("handoff 77 aborted "));
}

TEST(HandoffCommandTest, AnUpgradeThatDoesNotBeginHasACodeForTheReason) {
  const std::vector<std::pair<absl::StatusCode, int>> codes = {
      {absl::StatusCode::kAborted, 5},
      {absl::StatusCode::kFailedPrecondition, 1},
      {absl::StatusCode::kPermissionDenied, 4},
      {absl::StatusCode::kUnavailable, 3}};
  for (const auto& [code, expected] : codes) {
    v1::QueryReply reply;
    reply.mutable_failure()->set_code(static_cast<int>(code));
    reply.mutable_failure()->set_detail("it\nis so");
    FakeQueryServer server(FakeQueryServer::Answer({reply}));
    ExpectFailure(RunCommand({"upgrade", Option(server)}), expected,
                  "it\\x0ais so; ");
  }
  FakeQueryServer old(FakeQueryServer::Answer({v1::QueryReply()}));
  ExpectFailure(RunCommand({"upgrade", Option(old)}), 1, "does not know how");
}

// What each command line below has in common.
std::vector<std::string> Rehearsal(const FakeQueryServer& server,
                                   const std::vector<std::string>& command) {
  std::vector<std::string> arguments = {"rehearse", Option(server),
                                        "--timeout=30s", "--"};
  arguments.insert(arguments.end(), command.begin(), command.end());
  return arguments;
}

TEST(HandoffCommandTest, ACommandThatDoesNotReportExitsWith1AndSaysHowItEnded) {
  FakeQueryServer server(FakeQueryServer::Answer({SomeReply()}));
  ExpectFailure(RunCommand(Rehearsal(server, {"/bin/true"})), 1,
                "/bin/true exited with code 0, without a report");
  ExpectFailure(RunCommand(Rehearsal(server, {"sh", "-c", "exit 7"})), 1,
                "sh exited with code 7, without a report");
  ExpectFailure(RunCommand(Rehearsal(server, {"sh", "-c", "kill -9 $$"})), 1,
                "sh was killed by signal 9 (Killed), without a report");
  ExpectFailure(RunCommand(Rehearsal(server, {"/nowhere/server"})), 1,
                "execute /nowhere/server: No such file or directory; check");
}

TEST(HandoffCommandTest, ACommandThatHangsIsKilled) {
  FakeQueryServer server(FakeQueryServer::Answer({SomeReply()}));
  // Prints its pid, which goes where the errors go.
  const CommandResult result =
      RunCommand({"rehearse", Option(server), "--timeout=300ms", "--", "sh",
                  "-c", "echo $$; exec sleep 1000"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "") << "the answer's place";
  EXPECT_THAT(result.err, HasSubstr("sh did not report in time, and was killed "
                                    "by signal 9 (Killed); try a longer"));
  EXPECT_THAT(result.err, ::testing::ContainsRegex("^[0-9]+\n"));
}

TEST(HandoffCommandTest, WhereNobodyServesTheCommandIsNotExecuted) {
  FakeQueryServer server(FakeQueryServer::Hang);
  ExpectFailure(RunCommand({"rehearse", Option(server) + "-other", "--", "sh",
                            "-c", "echo executed >&2"}),
                3, "check that the service runs");
  FakeQueryServer stranger(
      FakeQueryServer::Refuse(v1::Refuse::CREDENTIALS, "user 5"));
  ExpectFailure(RunCommand({"rehearse", Option(stranger), "--", "/bin/true"}),
                4, "run this as");
}

TEST(HandoffCommandTest, AReaderThatHasReadEnoughIsNoFailure) {
  v1::QueryReply reply;
  for (int i = 0; i < 1000; ++i) reply.add_items()->set_name("listener");
  FakeQueryServer server(FakeQueryServer::Answer({reply}));
  int pipe_ends[2];
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  ::close(pipe_ends[0]);
  const CommandResult result =
      RunCommand({"list", Option(server)}, pipe_ends[1]);
  EXPECT_EQ(result.exit_code, 0) << "141 is SIGPIPE";
  EXPECT_EQ(result.err, "");
}

TEST(HandoffCommandTest, OutputThatIsLostExitsWith1) {
  FakeQueryServer server(FakeQueryServer::Answer({SomeReply()}));
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  ExpectFailure(RunCommand({"list", Option(server)}, full), 1,
                "cannot write the answer");
}

}  // namespace
}  // namespace handoff
