#include "tools/load/server_processes.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tools/load/event_loop.h"

namespace handoff::load {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(10);

absl::StatusOr<ServerProcesses> Processes() {
  return ServerProcesses::Create("/dev/null");
}

// The next line, or "" after kTimeout.
std::string AwaitLine(ServerProcesses* processes) {
  const absl::Time deadline = MonotonicNow() + kTimeout;
  while (MonotonicNow() < deadline) {
    if (const auto line = processes->TakeLine(); line.has_value()) return *line;
    usleep(1000);
  }
  return "";
}

TEST(ParseReadyLineTest, ReadsTheServersLine) {
  const absl::StatusOr<ReadyLine> ready =
      ParseReadyLine("ready pid=12 generation=3 http=127.0.0.1:8080");
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(ready->pid, 12);
  EXPECT_EQ(ready->generation, 3U);
  EXPECT_EQ(ntohl(ready->http.sin_addr.s_addr), INADDR_LOOPBACK);
  EXPECT_EQ(ntohs(ready->http.sin_port), 8080);
  EXPECT_EQ(ready->grpc, "");
  EXPECT_EQ(ready->admin, "");
}

TEST(ParseReadyLineTest, ReadsTheOtherAddresses) {
  const absl::StatusOr<ReadyLine> ready = ParseReadyLine(
      "ready pid=12 generation=3 http=127.0.0.1:8080 grpc=127.0.0.1:81 "
      "admin=unix:/x");
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(ready->grpc, "127.0.0.1:81");
  EXPECT_EQ(ready->admin, "unix:/x");
}

TEST(ParseReadyLineTest, RefusesAnyOther) {
  for (const absl::string_view line :
       {"", "ready", "ready pid=x generation=1 http=127.0.0.1:1",
        "ready pid=1 generation=1 http=127.0.0.1",
        "ready pid=1 generation=1 http=127.0.0.1:0",
        "ready pid=1 generation=1 http=127.0.0.1:65536",
        "ready pid=1 generation=1 http=localhost:1",
        "ready pid=1 generation=1 http=127.0.0.1:1 other=x",
        "ready pid=1 generation=1 http=127.0.0.1:1 admin=",
        "error pid=1 generation=1 http=127.0.0.1:1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseReadyLine(line).status())) << line;
  }
}

TEST(ServerProcessesTest, GivesLinesOfAProcessAndOfItsChildAndHowItEnded) {
  absl::StatusOr<ServerProcesses> processes = Processes();
  ASSERT_TRUE(processes.ok()) << processes.status();
  const absl::StatusOr<pid_t> pid =
      processes->Start({"/bin/sh", "-c", "echo one; sh -c 'echo two'; exit 3"});
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_EQ(AwaitLine(&*processes), "one");
  EXPECT_EQ(AwaitLine(&*processes), "two");
  absl::optional<int> ended;
  const absl::Time deadline = MonotonicNow() + kTimeout;
  while (!(ended = processes->Ended(*pid)).has_value()) {
    ASSERT_LT(MonotonicNow(), deadline) << "the shell does not end";
    usleep(1000);
  }
  EXPECT_EQ(ServerProcesses::Describe(*ended), "exited with 3");
}

TEST(ServerProcessesTest, OfOneThatItsParentHasReapedTheLogSaysHowItEnded) {
  char log[] = "/tmp/processes.XXXXXX";
  const int file = mkstemp(log);
  ASSERT_GE(file, 0);
  close(file);
  absl::StatusOr<ServerProcesses> processes = ServerProcesses::Create(log);
  ASSERT_TRUE(processes.ok()) << processes.status();
  ASSERT_TRUE(
      processes
          ->Start({"/bin/sh", "-c",
                   "sh -c 'exit 4' & wait $!; echo \"12:00 7 child-ended: pid "
                   "$! exited with code 4\" >&2; echo $!; sleep 60"})
          .ok());
  pid_t grandchild = 0;
  ASSERT_TRUE(absl::SimpleAtoi(AwaitLine(&*processes), &grandchild));
  processes->Adopt(grandchild);
  const absl::optional<int> ended = processes->Ended(grandchild);
  ASSERT_TRUE(ended.has_value());
  EXPECT_EQ(ServerProcesses::Describe(*ended), "exited with 4");
  unlink(log);
}

TEST(ServerProcessesTest, NothingOutlivesIt) {
  pid_t grandchild = 0;
  {
    absl::StatusOr<ServerProcesses> processes = Processes();
    ASSERT_TRUE(processes.ok()) << processes.status();
    ASSERT_TRUE(
        processes
            ->Start({"/bin/sh", "-c", "sleep 60 >/dev/null & echo $!; wait"})
            .ok());
    ASSERT_TRUE(absl::SimpleAtoi(AwaitLine(&*processes), &grandchild));
    ASSERT_EQ(kill(grandchild, 0), 0);
  }
  EXPECT_NE(kill(grandchild, 0), 0) << "process " << grandchild << " lives";
}

TEST(ServerProcessesTest, RunReturnsWhatACommandPrints) {
  absl::StatusOr<ServerProcesses> processes = Processes();
  ASSERT_TRUE(processes.ok()) << processes.status();
  EXPECT_EQ(*processes->Run({"/bin/echo", "hello"}, kTimeout), "hello\n");
  EXPECT_TRUE(absl::IsFailedPrecondition(
      processes->Run({"/bin/false"}, kTimeout).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      processes->Run({"/nowhere"}, kTimeout).status()));
}

TEST(ServerProcessesTest, RunGivesUpOnACommandThatHangs) {
  absl::StatusOr<ServerProcesses> processes = Processes();
  ASSERT_TRUE(processes.ok()) << processes.status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      processes->Run({"/bin/sleep", "60"}, absl::Milliseconds(50)).status()));
}

}  // namespace
}  // namespace handoff::load
