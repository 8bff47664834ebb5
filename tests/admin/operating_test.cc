// What an operator does to a real server by its admin endpoint.

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/admin/admin_client.h"
#include "tests/server/served.h"

namespace handoff::admin_tests {
namespace {

using admin::v1::StartHandoffRequest;
using admin::v1::StartHandoffResponse;
using server::Client;
using server::Eventually;
using Stub = admin::v1::Admin::Stub;

::grpc::Status Ended(::grpc::ClientReader<StartHandoffResponse>& stream) {
  StartHandoffResponse response;
  while (stream.Read(&response)) {
  }
  return stream.Finish();
}

std::string Me() { return absl::StrCat("uid ", ::geteuid()); }

class Operating : public server::Served {
 protected:
  void Start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> flags = {absl::StrCat("--admin=", Address())};
    flags.insert(flags.end(), more.begin(), more.end());
    Served::Start(flags);
  }
  std::string Address() const { return absl::StrCat("unix:", File("a")); }

  Streamed<StartHandoffResponse> StartHandoff(
      const StartHandoffRequest& request) {
    AdminClient client(Address());
    Context context;
    return ReadAll(client->StartHandoff(&context, request));
  }
  // Whether there comes an audit event with this text.
  bool AuditsHave(const std::string& text) {
    const std::string line = absl::StrCat("audit: ", Me(), ": ", text);
    return Eventually([&] { return absl::StrContains(Log(), line); });
  }
  std::string Executable(const std::string& name, const std::string& script) {
    std::ofstream(File(name)) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(File(name), std::filesystem::perms::owner_all);
    return File(name);
  }

  // A connection that has been served once, so that it is a session.
  Client ServedClient() {
    Client client(line());
    client.Send("GET /whoami HTTP/1.1\r\nhost: x\r\n\r\n");
    EXPECT_EQ(client.ReadResponse().status, 200);
    return client;
  }
  std::vector<admin::v1::Session> Sessions() {
    AdminClient client(Address());
    Context context;
    std::vector<admin::v1::Session> sessions;
    for (const auto& page :
         ReadAll(client->ListSessions(&context, {})).messages) {
      sessions.insert(sessions.end(), page.sessions().begin(),
                      page.sessions().end());
    }
    return sessions;
  }

  ::grpc::Status Lock(const std::string& reason, absl::Duration expiry) {
    AdminClient client(Address());
    admin::v1::LockRequest request;
    request.set_reason(reason);
    request.mutable_expiry()->set_seconds(absl::ToInt64Seconds(expiry));
    request.mutable_expiry()->set_nanos(static_cast<int32_t>(
        absl::ToInt64Nanoseconds(expiry % absl::Seconds(1))));
    admin::v1::LockResponse response;
    return client.Call(&Stub::Lock, request, &response);
  }
  ::grpc::Status Unlock() {
    AdminClient client(Address());
    admin::v1::UnlockResponse response;
    return client.Call(&Stub::Unlock, {}, &response);
  }
  ::grpc::Status Abort(const std::string& reason) {
    AdminClient client(Address());
    admin::v1::AbortHandoffRequest request;
    request.set_reason(reason);
    admin::v1::AbortHandoffResponse response;
    return client.Call(&Stub::AbortHandoff, request, &response);
  }
};

TEST_F(Operating, AHandoffIsStartedAndFollowedToItsResult) {
  Start();
  const pid_t before = serving();
  const auto all = StartHandoff({});
  ASSERT_TRUE(all.status.ok()) << all.status.error_message();
  ASSERT_FALSE(all.messages.empty());
  for (size_t i = 0; i + 1 < all.messages.size(); ++i) {
    EXPECT_TRUE(all.messages[i].has_progress());
    EXPECT_FALSE(all.messages[i].has_result()) << "before the last message";
  }
  const admin::v1::Handoff& result = all.messages.back().result();
  EXPECT_EQ(result.result(), "committed") << result.reason();
  EXPECT_EQ(result.predecessor_pid(), before);
  AwaitSuccessor();
  EXPECT_EQ(result.successor_pid(), serving());

  // The successor's operators find out who it was.
  AdminClient client(Address());
  admin::v1::WatchEventsRequest audits;
  audits.add_kinds("audit");
  Context context;
  const auto events = client->WatchEvents(&context, audits);
  admin::v1::WatchEventsResponse event;
  ASSERT_TRUE(events->Read(&event));
  EXPECT_EQ(event.event().text(),
            absl::StrCat(Me(), ": StartHandoff its own executable: OK"));
  EXPECT_EQ(event.event().pid(), before);
  context.TryCancel();
}

TEST_F(Operating, ALockRefusesHandoffsAndUnlockLetsThem) {
  Start();
  ASSERT_TRUE(Lock("the database moves", absl::Hours(1)).ok());
  AdminClient client(Address());
  EXPECT_EQ(client.Status().lock().reason(), "the database moves");
  const auto refused = StartHandoff({});
  EXPECT_EQ(refused.status.error_code(), ::grpc::FAILED_PRECONDITION);
  EXPECT_TRUE(
      absl::StrContains(refused.status.error_message(), "the database moves"));
  EXPECT_EQ(ProblemOf(refused.status).reason(), "LOCKED");

  ASSERT_TRUE(Unlock().ok());
  EXPECT_FALSE(client.Status().has_lock());
  const auto all = StartHandoff({});
  EXPECT_TRUE(all.status.ok()) << all.status.error_message();
  AwaitSuccessor();
  EXPECT_TRUE(AuditsHave("Lock \"the database moves\": OK"));
  EXPECT_TRUE(
      AuditsHave("StartHandoff its own executable: FAILED_PRECONDITION"));
  EXPECT_TRUE(AuditsHave("Unlock: OK"));
}

TEST_F(Operating, ALockExpiresAndTakesNoNonsense) {
  Start();
  EXPECT_EQ(Lock("", absl::Hours(1)).error_code(), ::grpc::INVALID_ARGUMENT);
  EXPECT_EQ(Lock("x", absl::Hours(24 * 7 + 1)).error_code(),
            ::grpc::INVALID_ARGUMENT);
  const ::grpc::Status none = Unlock();
  EXPECT_EQ(none.error_code(), ::grpc::FAILED_PRECONDITION);
  EXPECT_EQ(ProblemOf(none).reason(), "STATE");
  ASSERT_TRUE(Lock("a moment", absl::Seconds(2)).ok());
  AdminClient client(Address());
  EXPECT_TRUE(Eventually([&] { return !client.Status().has_lock(); }));
}

TEST_F(Operating, OnlyWhatIsListedIsExecuted) {
  const std::string ends = Executable("ends", "exit 3");
  const std::string listed = File("listed");
  std::filesystem::copy_file(File("server"), listed);
  Start({absl::StrCat("--admin_executables=", ends, ",", listed)});
  StartHandoffRequest request;
  request.set_executable("/bin/true");
  const auto refused = StartHandoff(request);
  EXPECT_EQ(refused.status.error_code(), ::grpc::PERMISSION_DENIED);
  EXPECT_EQ(ProblemOf(refused.status).reason(), "NOT_ALLOWED");
  EXPECT_FALSE(absl::StrContains(refused.status.error_message(), ends))
      << "tells what is on the list";
  EXPECT_TRUE(AuditsHave("StartHandoff \"/bin/true\": PERMISSION_DENIED"));

  request.set_executable(ends);
  const auto ended = StartHandoff(request);
  EXPECT_EQ(ended.status.error_code(), ::grpc::ABORTED);
  EXPECT_EQ(ProblemOf(ended.status).reason(), "SUCCESSOR_ENDED");
  EXPECT_TRUE(absl::StrContains(ended.status.error_message(), "code 3"))
      << ended.status.error_message();

  request.set_executable(listed);
  const auto all = StartHandoff(request);
  ASSERT_TRUE(all.status.ok()) << all.status.error_message();
  EXPECT_EQ(all.messages.back().result().result(), "committed");
  AwaitSuccessor();
}

TEST_F(Operating, ARehearsalTellsWhetherItWouldWorkAndMovesNothing) {
  Start();
  const pid_t before = serving();
  StartHandoffRequest request;
  request.set_rehearse(true);
  const auto all = StartHandoff(request);
  ASSERT_TRUE(all.status.ok()) << all.status.error_message();
  EXPECT_EQ(all.messages.back().result().result(), "passed")
      << all.messages.back().DebugString();
  EXPECT_EQ(all.messages.back().refused_size(), 0);
  AdminClient client(Address());
  EXPECT_EQ(client.Status().pid(), before);
  EXPECT_EQ(client.Status().generation(), 1u);

  request.set_wait_for_successor(true);
  EXPECT_EQ(StartHandoff(request).status.error_code(),
            ::grpc::INVALID_ARGUMENT);
}

TEST_F(Operating, ARehearsalEndsWithItsCallerAndWithTheProcess) {
  const std::string hangs =
      Executable("hangs", absl::StrCat("echo $$ >", File("new_pid"), "; mv ",
                                       File("new_pid"), " ", File("pid"),
                                       "\nexec sleep 1000"));
  Start({absl::StrCat("--admin_executables=", hangs)});
  AdminClient client(Address());
  StartHandoffRequest request;
  request.set_executable(hangs);
  request.set_rehearse(true);
  pid_t child = 0;
  const auto rehearse = [&](Context& context) {
    auto stream = client->StartHandoff(&context, request);
    EXPECT_TRUE(Eventually([&] {
      return static_cast<bool>(std::ifstream(File("pid")) >> child);
    }));
    std::filesystem::remove(File("pid"));
    return stream;
  };
  {
    Context context;
    const auto stream = rehearse(context);
    context.TryCancel();
    EXPECT_EQ(Ended(*stream).error_code(), ::grpc::CANCELLED);
    EXPECT_TRUE(Eventually([&] { return ::kill(child, 0) != 0; }))
        << "it still rehearses";
  }
  Context context;
  const auto stream = rehearse(context);
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);
  EXPECT_EQ(ExitCode(serving()), 0);
  EXPECT_NE(::kill(child, 0), 0) << "it still rehearses";
  EXPECT_FALSE(Ended(*stream).ok());
}

TEST_F(Operating, AHandoffThatBeginsElsewhereIsFollowed) {
  Start();
  StartHandoffRequest request;
  request.set_wait_for_successor(true);
  Streamed<StartHandoffResponse> all;
  std::thread waits([&] { all = StartHandoff(request); });
  EXPECT_TRUE(AuditsHave("StartHandoff waiting for a successor: OK"));
  const pid_t before = serving();
  Start();
  waits.join();
  ASSERT_TRUE(all.status.ok()) << all.status.error_message();
  const admin::v1::Handoff& result = all.messages.back().result();
  EXPECT_EQ(result.result(), "committed");
  EXPECT_EQ(result.predecessor_pid(), before);
  EXPECT_EQ(result.successor_pid(), serving());
}

// The endpoint ends as soon as the watch does, which here is at once.
TEST_F(Operating, AResultIsToldAlsoWhereTheWatchIsShort) {
  Start({"--watch=1ms"});
  for (int i = 0; i < 3; ++i) {
    const auto all = StartHandoff({});
    ASSERT_TRUE(all.status.ok()) << all.status.error_message();
    ASSERT_FALSE(all.messages.empty());
    EXPECT_EQ(all.messages.back().result().result(), "committed");
    AwaitSuccessor();
  }
}

TEST_F(Operating, WhoeverWaitsIsToldWhereTheEndpointEndsFirst) {
  Start();
  StartHandoffRequest request;
  request.set_wait_for_successor(true);
  Streamed<StartHandoffResponse> all;
  std::thread waits([&] { all = StartHandoff(request); });
  EXPECT_TRUE(AuditsHave("StartHandoff waiting for a successor: OK"));
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);
  EXPECT_EQ(ExitCode(serving()), 0);
  waits.join();
  EXPECT_EQ(all.status.error_code(), ::grpc::UNAVAILABLE)
      << all.status.error_message();
  EXPECT_EQ(ProblemOf(all.status).reason(), "DRAINING");
}

TEST_F(Operating, AnAbortEndsWhatIsUnderWayAndThereMustBeSomething) {
  const std::string hangs = Executable("hangs", "exec sleep 1000");
  Start({absl::StrCat("--admin_executables=", hangs)});
  const ::grpc::Status none = Abort("why not");
  EXPECT_EQ(none.error_code(), ::grpc::FAILED_PRECONDITION);
  EXPECT_EQ(ProblemOf(none).reason(), "STATE");

  StartHandoffRequest request;
  request.set_executable(hangs);
  Streamed<StartHandoffResponse> all;
  std::thread follows([&] { all = StartHandoff(request); });
  EXPECT_TRUE(Eventually([&] {
    return absl::StrContains(Log(), absl::StrCat("started ", hangs));
  }));
  // A call that blocks keeps nobody else waiting.
  AdminClient client(Address());
  EXPECT_EQ(client.Status().pid(), serving());
  const ::grpc::Status aborted = Abort("it hangs");
  EXPECT_TRUE(aborted.ok()) << aborted.error_message();
  follows.join();
  EXPECT_EQ(all.status.error_code(), ::grpc::ABORTED)
      << all.status.error_message();
  EXPECT_TRUE(AuditsHave("AbortHandoff \"it hangs\": OK"));
  EXPECT_EQ(client.Status().generation(), 1u);
}

TEST_F(Operating, ACallerThatLeavesStopsNoHandoff) {
  const std::string waits =
      Executable("waits", absl::StrCat("while [ ! -e ", File("go"),
                                       " ]; do sleep 0.01; "
                                       "done\nexec ",
                                       File("server"), " \"$@\""));
  Start({absl::StrCat("--admin_executables=", waits)});
  AdminClient client(Address());
  Context context;
  StartHandoffRequest request;
  request.set_executable(waits);
  const auto stream = client->StartHandoff(&context, request);
  EXPECT_TRUE(AuditsHave(absl::StrCat("StartHandoff \"", waits, "\": OK")));
  context.TryCancel();
  EXPECT_EQ(Ended(*stream).error_code(), ::grpc::CANCELLED);
  std::ofstream(File("go")) << "now";
  AwaitSuccessor();
}

TEST_F(Operating, SessionsAreDrainedByNameOrAllAndTheCallersOwnStays) {
  Start();
  AdminClient client(Address());
  client.Status();  // so that its connection is the first
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(ServedClient());
  uint64_t own = 0;
  uint64_t first = 0;  // of the clients: sessions are in the order of their ids
  for (const auto& session : Sessions()) {
    uint64_t& id = session.type() == "admin" ? own : first;
    if (id == 0) id = session.id();
  }
  admin::v1::DrainResponse response;
  // `leaves` is asked to, and does; else it would have 5 s.
  const auto drain = [&](const admin::v1::DrainRequest& request,
                         Client* leaves) {
    response.Clear();
    ::grpc::Status status;
    std::thread call(
        [&] { status = client.Call(&Stub::Drain, request, &response); });
    if (leaves != nullptr) {
      EXPECT_EQ(leaves->Read(1), "");
      leaves->HalfClose();
    }
    call.join();
    return status;
  };
  admin::v1::DrainRequest request;
  EXPECT_EQ(drain(request, nullptr).error_code(), ::grpc::INVALID_ARGUMENT)
      << "nobody is named";
  request.add_sessions(own);
  EXPECT_EQ(drain(request, nullptr).error_code(), ::grpc::INVALID_ARGUMENT)
      << "it is the caller's connection";

  request.clear_sessions();
  request.add_sessions(first);
  ::grpc::Status status = drain(request, &clients[0]);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.asked(), 1u);
  EXPECT_EQ(response.ended(), 1u);

  // One of the two that are left is in the middle of an answer that it does not
  // read: it has to be cut off.
  clients[1].Send("GET /stream?bytes=100000000 HTTP/1.1\r\nhost: x\r\n\r\n");
  EXPECT_FALSE(clients[1].Read(1).empty());
  request.clear_sessions();
  request.set_all(true);
  request.mutable_deadline()->set_seconds(3);
  status = drain(request, &clients[2]);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.asked(), 2u);
  EXPECT_EQ(response.ended(), 1u);
  EXPECT_EQ(response.cut_off(), 1u);
  EXPECT_EQ(client.Status().pid(), serving()) << "its own connection stays";
  EXPECT_TRUE(AuditsHave("Drain all: OK"));
}

TEST_F(Operating, ADrainDoesNotOutlastTheProcess) {
  Start({"--drain_deadline=500ms"});
  Client idle = ServedClient();
  Client busy = ServedClient();
  busy.Send("GET /stream?bytes=100000000 HTTP/1.1\r\nhost: x\r\n\r\n");
  EXPECT_FALSE(busy.Read(1).empty());
  std::thread drains([&] {
    AdminClient client(Address());
    admin::v1::DrainRequest request;
    request.set_all(true);
    request.mutable_deadline()->set_seconds(3600);
    admin::v1::DrainResponse response;
    Context context(absl::Minutes(2));
    (void)client->Drain(&context, request, &response);
  });
  EXPECT_EQ(idle.Read(1), "") << "the drain does not begin";
  ASSERT_EQ(::kill(serving(), SIGTERM), 0);
  EXPECT_EQ(ExitCode(serving()), 0);
  drains.join();
}

TEST_F(Operating, AcceptingIsSwitchedOffAndOnAndOperatorsAreNotShutOut) {
  Start();
  const auto accept = [this](bool accepting) {
    // By a connection of its own.
    AdminClient client(Address());
    admin::v1::SetAcceptingRequest request;
    request.set_accepting(accepting);
    admin::v1::SetAcceptingResponse response;
    return client.Call(&Stub::SetAccepting, request, &response);
  };
  ASSERT_TRUE(accept(false).ok());
  {
    AdminClient client(Address());
    EXPECT_FALSE(client.Status().accepting());
  }
  // It connects, and waits in the kernel's queue.
  Client waits(line());
  waits.Send("GET /whoami HTTP/1.1\r\nhost: x\r\n\r\n");
  waits.AwaitSent();
  for (const auto& session : Sessions()) EXPECT_NE(session.type(), "http");
  ASSERT_TRUE(accept(true).ok());
  EXPECT_EQ(waits.ReadResponse().status, 200);
  EXPECT_TRUE(AuditsHave("SetAccepting off: OK"));
  EXPECT_TRUE(AuditsHave("SetAccepting on: OK"));
}

}  // namespace
}  // namespace handoff::admin_tests
