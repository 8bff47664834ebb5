// How the server starts, is upgraded, drains and ends; and its limits.

#include <arpa/inet.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

constexpr char kHealthz[] = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

class LifecycleTest : public Served {};

TEST_F(LifecycleTest, SigtermDrainsAndExitsWithZero) {
  Start();
  Client idle(line());
  idle.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(idle.ReadResponse().body, "ok");
  Client busy(line());
  busy.Send("GET /stream?bytes=20000&rate=20000 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(busy.Read(15), "HTTP/1.1 200 OK");
  const pid_t pid = serving();
  ASSERT_EQ(::kill(pid, SIGTERM), 0);
  EXPECT_EQ(idle.Read(1), "") << "an idle connection is closed";
  std::string rest = busy.Read(100'000);
  EXPECT_EQ(rest.substr(rest.find("\r\n\r\n") + 4), StreamBytes(20000));
  EXPECT_EQ(ExitCode(pid), 0);
}

TEST_F(LifecycleTest, AChildThatFailsIsNamedInTheLogAndTheServerGoesOn) {
  Start();
  Client client(line());
  std::filesystem::copy_file("/bin/false", File("new"));
  std::filesystem::rename(File("new"), File("server"));
  ASSERT_EQ(::kill(serving(), SIGUSR2), 0);
  EXPECT_TRUE(Eventually(
      [&] { return absl::StrContains(Log(), "exited with code 1"); }));
  client.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().body, "ok");
  ReplaceBinary();
  Upgrade();
  client.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().body, "ok");
}

TEST_F(LifecycleTest, ASecondSigusr2IsRefusedWhileAChildRuns) {
  Start();
  // A child that neither serves nor ends.
  std::filesystem::copy_file("/bin/false", File("new"));
  {
    std::ofstream script(File("new"), std::ios::trunc);
    script << "#!/bin/sh\nkill -STOP $$\n";
  }
  std::filesystem::rename(File("new"), File("server"));
  ASSERT_EQ(::kill(serving(), SIGUSR2), 0);
  ASSERT_TRUE(Eventually(
      [&] { return absl::StrContains(Log(), "a successor is started"); }));
  ASSERT_EQ(::kill(serving(), SIGUSR2), 0);
  EXPECT_TRUE(Eventually([&] {
    return absl::StrContains(Log(), "SIGUSR2: no successor is started");
  }));
  Client client(line());
  client.Send(kHealthz);
  EXPECT_EQ(client.ReadResponse().body, "ok");
}

TEST_F(LifecycleTest, WhileItDrainsItSaysSo) {
  Start();
  Client busy(line());
  busy.Send("GET /stream?bytes=90000&rate=1000 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(busy.Read(15), "HTTP/1.1 200 OK");
  ASSERT_EQ(::kill(serving(), SIGINT), 0);
  ASSERT_TRUE(
      Eventually([&] { return absl::StrContains(Log(), "draining"); }));
  EXPECT_TRUE(Eventually([&] {
    Client client(line());
    client.Send(kHealthz);
    return client.ReadResponse().status == 503;
  }));
  ASSERT_EQ(::kill(serving(), SIGINT), 0);  // the stream would take 90 s
  EXPECT_EQ(ExitCode(serving()), 0);
}

TEST_F(LifecycleTest, ASecondSigtermWaitsForNobody) {
  Start();
  Client busy(line());
  busy.Send("GET /stream?bytes=90000&rate=1000 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(busy.Read(15), "HTTP/1.1 200 OK");
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);
  ASSERT_TRUE(
      Eventually([&] { return absl::StrContains(Log(), "draining"); }));
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);
  EXPECT_EQ(ExitCode(serving()), 0);
}

TEST_F(LifecycleTest, BadFlagsAndFailuresHaveTheirExitCodes) {
  const std::string handoff = absl::StrCat("--handoff=", File("h"));
  EXPECT_EQ(ExitCode(Launch({File("server"), handoff, "--workers=0"})), 2);
  EXPECT_EQ(ExitCode(Launch({File("server"), handoff, "--http=nowhere"})), 2);
  EXPECT_EQ(ExitCode(Launch({File("server")})), 2) << "--handoff is missing";
  Start();
  // The port is taken, and by no predecessor of this service.
  EXPECT_EQ(
      ExitCode(Launch({File("server"),
                       absl::StrCat("--http=tcp:127.0.0.1:",
                                    ntohs(line().http.sin_port)),
                       absl::StrCat("--handoff=", File("other"))})),
      1);
}

TEST_F(LifecycleTest, LimitsAreAnsweredOverTheNetworkToo) {
  Start({"--max_body_bytes=1000", "--request_timeout=1s"});
  Client large(line());
  large.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(large.ReadResponse().status, 413);
  Client malformed(line());
  malformed.Send("GET /healthz HTTP/1.1\r\nno colon\r\n\r\n");
  EXPECT_EQ(malformed.ReadResponse().status, 400);
  EXPECT_EQ(malformed.Read(1), "") << "and a close";
  Client slow(line());
  slow.Send("GET /heal");
  Start({"--max_body_bytes=1000", "--request_timeout=1s"});
  EXPECT_EQ(slow.ReadResponse().status, 408) << "its time went on";
}

}  // namespace
}  // namespace handoff::server
