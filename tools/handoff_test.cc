// Runs the command itself, for each of its exit codes.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "handoff/fake_query_server.h"
#include "proto/handoff.pb.h"

namespace handoff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Result {
  int exit_code = -1;  // 128 and the signal where one has ended it
  std::string out;
  std::string err;
};

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t size;
  while ((size = ::read(fd, buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<size_t>(size));
  }
  ::close(fd);
  return text;
}

// Runs the command. `out` is where its output goes, and is closed here; -1: to
// Result::out.
Result RunCommand(const std::vector<std::string>& arguments, int out = -1) {
  const char* const program = ::getenv("HANDOFF_COMMAND");
  if (program == nullptr) {
    ADD_FAILURE() << "HANDOFF_COMMAND does not say where the command is";
    return {};
  }
  int out_pipe[2] = {-1, out};
  int err_pipe[2];
  if (out < 0) {
    EXPECT_EQ(::pipe2(out_pipe, O_CLOEXEC), 0);
  }
  EXPECT_EQ(::pipe2(err_pipe, O_CLOEXEC), 0);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, out_pipe[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err_pipe[1], STDERR_FILENO);
  std::vector<char*> argv = {const_cast<char*>("handoff")};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  pid_t pid = -1;
  EXPECT_EQ(
      ::posix_spawn(&pid, program, &actions, nullptr, argv.data(), environ), 0)
      << program;
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(out_pipe[1]);
  ::close(err_pipe[1]);

  Result result;
  // One after the other: what goes to stderr is one line.
  if (out < 0) result.out = ReadAll(out_pipe[0]);
  result.err = ReadAll(err_pipe[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  result.exit_code =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

// A failure has its code, nothing on stdout, and one line on stderr.
void ExpectFailure(const Result& result, int code, absl::string_view text) {
  EXPECT_EQ(result.exit_code, code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, StartsWith("handoff: "));
  EXPECT_THAT(result.err, HasSubstr(std::string(text)));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1)
      << result.err;
  EXPECT_EQ(result.err.back(), '\n') << result.err;
}

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
    const Result result = RunCommand({verb, Option(server)});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr(text));
    EXPECT_EQ(result.err, "");
  }
}

TEST(HandoffCommandTest, JsonIsOneLineWithEveryField) {
  FakeQueryServer server(FakeQueryServer::Answer({SomeReply()}));
  for (const char* verb : {"status", "list", "ledger"}) {
    const Result result = RunCommand({"--format=json", verb, Option(server)});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.out, StartsWith("{\"status\":{\"pid\":\"4321\","));
    EXPECT_THAT(result.out, HasSubstr("\"openDescriptors\":\"0\""));
    EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 1);
  }
}

TEST(HandoffCommandTest, HelpIsNoFailure) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"help"}, {"help", "ledger"}}) {
    const Result result = RunCommand(arguments);
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
  ExpectFailure(RunCommand({"help", "frob"}), 2, "unknown verb 'frob'");
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
  const Result result =
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
  const Result result = RunCommand({"list", Option(server)}, pipe_ends[1]);
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
