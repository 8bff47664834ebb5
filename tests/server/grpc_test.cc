// The gRPC service from its start to its end: what its clients see.

#include <signal.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/grpc_clients.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

class GrpcTest : public Served {};

TEST_F(GrpcTest, ASuccessorThatCrashesInTheWatchLeavesTheServerWhole) {
  Start({"--grpc=tcp:127.0.0.1:0", "--watch=60s"});
  const pid_t first = serving();
  const auto kept = ConnectGrpc(line().grpc);
  EXPECT_EQ(EchoGeneration(kept), 1u);
  Chat chat(ConnectGrpc(line().grpc));
  EXPECT_EQ(chat.Say(), 1u);

  Start({"--watch=60s", "--grpc=tcp:127.0.0.1:0"});
  EXPECT_EQ(EchoGeneration(ConnectGrpc(line().grpc)), 2u)
      << "who connects after the commit is the successor's";
  EXPECT_EQ(EchoGeneration(kept), 1u) << "who was there stays";
  EXPECT_EQ(chat.Say(), 1u);

  ASSERT_EQ(::kill(serving(), SIGKILL), 0);
  EXPECT_EQ(EchoGeneration(kept), 1u);
  EXPECT_EQ(chat.Say(), 1u);
  // Waits in the kernel's queue until the predecessor accepts again.
  const auto after = ConnectGrpc(line().grpc);
  EXPECT_EQ(EchoGeneration(after), 1u);
  EXPECT_EQ(CheckHealth(after), Health::kServing);
  EXPECT_EQ(CheckHealth(kept), Health::kServing);
  EXPECT_EQ(chat.Say(), 1u);
  EXPECT_TRUE(chat.End().ok());
  ASSERT_EQ(::kill(first, SIGTERM), 0);  // TearDown() waits for it
}

TEST_F(GrpcTest, HealthIsServingUntilTheDrainAndTheSuccessorServesByThen) {
  Start({"--grpc=tcp:127.0.0.1:0", "--watch=1s", "--drain_deadline=500ms"});
  const pid_t first = serving();
  const auto kept = ConnectGrpc(line().grpc);
  HealthWatch watch(kept);
  EXPECT_EQ(watch.Next(), Health::kServing);
  Start({"--grpc=tcp:127.0.0.1:0"});
  const auto next = ConnectGrpc(line().grpc);
  EXPECT_EQ(EchoGeneration(next), 2u);
  EXPECT_EQ(CheckHealth(next), Health::kServing);
  EXPECT_EQ(watch.Next(), Health::kNotServing) << "at the end of the watch";
  // The client was asked to leave, with a stream still open.
  EXPECT_TRUE(Eventually([&] { return EchoGeneration(kept) == 2; }));
  EXPECT_EQ(watch.Next(), Health::kUnknown) << "cut off at the drain deadline";
  EXPECT_TRUE(watch.ended());
  EXPECT_EQ(ExitCode(first), 0);
}

TEST_F(GrpcTest, AStreamThatEndsBeforeTheDrainDeadlineIsLetEnd) {
  Start({"--grpc=tcp:127.0.0.1:0", "--drain_deadline=60s"});
  const auto kept = ConnectGrpc(line().grpc);
  Chat chat(kept);
  EXPECT_EQ(chat.Say(), 1u);
  const pid_t first = serving();
  Upgrade();
  // The connection is asked to leave and still has the stream.
  EXPECT_TRUE(Eventually([&] { return EchoGeneration(kept) == 2; }));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(chat.Say(), 1u);
  EXPECT_TRUE(chat.End().ok());
  EXPECT_EQ(ExitCode(first), 0) << "long before its deadline";
}

TEST_F(GrpcTest, SigtermLetsWhatIsUnderWayEndAndExitsWithZero) {
  Start({"--grpc=tcp:127.0.0.1:0", "--drain_deadline=60s"});
  const auto channel = ConnectGrpc(line().grpc);
  HealthWatch watch(channel);
  EXPECT_EQ(watch.Next(), Health::kServing);
  Chat chat(channel);
  EXPECT_EQ(chat.Say(), 1u);
  const auto idle = ConnectGrpc(line().grpc);
  EXPECT_EQ(EchoGeneration(idle), 1u);
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);
  EXPECT_EQ(watch.Next(), Health::kNotServing);
  EXPECT_EQ(chat.Say(), 1u);
  EXPECT_TRUE(chat.End().ok());
  // The watch of the health is a stream without an end.
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);
  EXPECT_EQ(ExitCode(serving()), 0);
}

TEST_F(GrpcTest, TheLedgerNamesConnectionsKeptAndThenDrained) {
  Start({absl::StrCat("--grpc=unix:", File("grpc")), "--watch=60s"});
  EXPECT_EQ(line().grpc, absl::StrCat("unix:", File("grpc")));
  const auto channel = ConnectGrpc(line().grpc);
  EXPECT_EQ(EchoGeneration(channel), 1u);
  const auto ledger = [this] {
    return Run({"tools/handoff", "ledger",
                absl::StrCat("--handoff=", File("h")), "--format=text"});
  };
  Upgrade();
  const std::string in_the_watch = ledger();
  EXPECT_TRUE(absl::StrContains(
      in_the_watch, "kept 1\n    session 1099511627777 grpc: HTTP/2 cannot"))
      << in_the_watch;
  // The next handoff ends the watch.
  Upgrade();
  EXPECT_TRUE(Eventually([&] { return EchoGeneration(channel) == 3; }));
  EXPECT_TRUE(Eventually([&] {
    return absl::StrContains(ledger(), "drained 1\n");
  })) << ledger();
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);  // ends the second one's watch
}

TEST_F(GrpcTest, ReflectionListsTheService) {
  Start({"--grpc=tcp:127.0.0.1:0"});
  const std::string services = ListServices(ConnectGrpc(line().grpc));
  for (const char* service :
       {"handoff.server.v1.EchoService", "grpc.health.v1.Health"}) {
    EXPECT_TRUE(absl::StrContains(services, service)) << services;
  }
}

TEST_F(GrpcTest, ASuccessorWithoutGrpcLeavesTheListenerToThePredecessor) {
  Start({"--grpc=tcp:127.0.0.1:0", "--watch=60s"});
  const std::string address = line().grpc;
  const pid_t first = serving();
  Start();
  EXPECT_EQ(line().grpc, "");
  EXPECT_EQ(EchoGeneration(ConnectGrpc(address)), 1u);
  // It needs no longer to be watched.
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);
  EXPECT_EQ(ExitCode(serving()), 0);
  EXPECT_EQ(ExitCode(first), 0);
}

}  // namespace
}  // namespace handoff::server
