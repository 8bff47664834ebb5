// What a client reads from a real server's admin endpoint.

#include <unistd.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor_database.h"
#include "google/protobuf/dynamic_message.h"
#include "gtest/gtest.h"
#include "tests/admin/admin_client.h"
#include "tests/admin/reflection.pb.h"
#include "tests/server/served.h"

namespace handoff::admin_tests {
namespace {

using admin::v1::GetStatusResponse;
using server::Client;

class Reading : public server::Served {
 protected:
  void Start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> flags = {absl::StrCat("--admin=", Address())};
    flags.insert(flags.end(), more.begin(), more.end());
    Served::Start(flags);
  }
  std::string Address() const { return absl::StrCat("unix:", File("a")); }

  Streamed<admin::v1::ListSessionsResponse> Sessions(
      AdminClient& client, const admin::v1::ListSessionsRequest& request) {
    Context context;
    return ReadAll(client->ListSessions(&context, request));
  }
};

// A connection that has been served once, so that it is a session.
std::unique_ptr<Client> ServedClient(const load::ReadyLine& line) {
  auto client = std::make_unique<Client>(line);
  client->Send("GET /whoami HTTP/1.1\r\nhost: x\r\n\r\n");
  EXPECT_EQ(client->ReadResponse().status, 200);
  return client;
}

TEST_F(Reading, StatusSaysWhoServesAndHowMuchRoomThereIs) {
  Start({"--label=v1"});
  AdminClient client(Address());
  const GetStatusResponse status = client.Status();
  EXPECT_EQ(status.role(), GetStatusResponse::SERVING);
  EXPECT_EQ(status.pid(), serving());
  EXPECT_EQ(status.generation(), 1u);
  EXPECT_EQ(status.label(), "v1");
  EXPECT_EQ(status.build().size(), 40u) << "of the server: " << status.build();
  EXPECT_EQ(status.executable(), File("server"));
  EXPECT_TRUE(status.accepting());
  EXPECT_EQ(status.listeners(), 2u) << "http and admin";
  EXPECT_GT(status.descriptor_headroom(), 0u);
  EXPECT_EQ(status.descriptor_headroom() + status.open_descriptors(),
            status.descriptor_limit());
  EXPECT_FALSE(status.has_handoff());
  EXPECT_FALSE(status.has_last_handoff());
  EXPECT_FALSE(status.has_lock());
}

TEST_F(Reading, DescriptorsAreFilteredAndComeInPages) {
  Start();
  AdminClient client(Address());
  admin::v1::ListDescriptorsRequest request;
  request.set_page_size(1);
  std::vector<std::string> names;
  {
    Context context;
    const auto all = ReadAll(client->ListDescriptors(&context, request));
    ASSERT_TRUE(all.status.ok()) << all.status.error_message();
    for (const auto& page : all.messages) {
      ASSERT_EQ(page.descriptors_size(), 1);
      names.push_back(page.descriptors(0).name());
      EXPECT_NE(page.descriptors(0).socket_cookie(), 0u);
    }
    ASSERT_EQ(names.size(), 3u);
    EXPECT_EQ(all.messages[0].descriptors(0).category(), "handoff-listener");
  }
  request.add_categories("listener");
  request.set_name_prefix("ht");
  {
    Context context;
    const auto http = ReadAll(client->ListDescriptors(&context, request));
    ASSERT_EQ(http.messages.size(), 1u);
    EXPECT_EQ(http.messages[0].descriptors(0).name(), "http");
    EXPECT_EQ(http.messages[0].descriptors(0).kind(), "tcp-listener");
    EXPECT_TRUE(absl::StartsWith(
        http.messages[0].descriptors(0).local_address(), "127.0.0.1:"));
  }
  request.add_categories("lisener");
  {
    Context context;
    const auto wrong = ReadAll(client->ListDescriptors(&context, request));
    EXPECT_EQ(wrong.status.error_code(), ::grpc::INVALID_ARGUMENT);
    EXPECT_EQ(ProblemOf(wrong.status).reason(), "ARGUMENT");
    EXPECT_TRUE(absl::StrContains(ProblemOf(wrong.status).remedy(),
                                  "handoff-listener"));
  }
}

TEST_F(Reading, SessionsAreFilteredAndComeInPages) {
  Start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(ServedClient(line()));
  AdminClient client(Address());

  admin::v1::ListSessionsRequest request;
  request.add_types("http");
  request.set_page_size(2);
  request.set_details(true);
  const auto all = Sessions(client, request);
  ASSERT_TRUE(all.status.ok()) << all.status.error_message();
  ASSERT_EQ(all.messages.size(), 3u) << "pages of two";
  EXPECT_EQ(all.messages[2].sessions_size(), 1);
  std::set<uint64_t> ids;
  for (const auto& page : all.messages) {
    for (const auto& session : page.sessions()) {
      ids.insert(session.id());
      EXPECT_EQ(session.type(), "http");
      EXPECT_EQ(session.handoffs(), 0u);
      EXPECT_GT(session.age().seconds() + session.age().nanos(), 0);
      ASSERT_GE(session.descriptors_size(), 1);
      EXPECT_EQ(session.descriptors(0).kind(), "tcp");
      EXPECT_FALSE(session.has_state());
    }
  }
  EXPECT_EQ(ids.size(), 5u);

  admin::v1::ListSessionsRequest one;
  one.add_ids(*ids.begin());
  const auto found = Sessions(client, one);
  ASSERT_EQ(found.messages.size(), 1u);
  EXPECT_EQ(found.messages[0].sessions(0).id(), *ids.begin());

  // The connection that asks is itself one that stays.
  admin::v1::ListSessionsRequest kept;
  kept.set_kept_only(true);
  const auto stay = Sessions(client, kept);
  ASSERT_EQ(stay.messages.size(), 1u);
  ASSERT_EQ(stay.messages[0].sessions_size(), 1);
  EXPECT_EQ(stay.messages[0].sessions(0).type(), "admin");
  EXPECT_FALSE(stay.messages[0].sessions(0).keep_reason().empty());

  admin::v1::ListSessionsRequest none;
  none.mutable_older_than()->set_seconds(3600);
  EXPECT_TRUE(Sessions(client, none).messages.empty());
  none.clear_older_than();
  none.set_peer_prefix("192.0.2.");
  EXPECT_TRUE(Sessions(client, none).messages.empty());

  request.set_page_size(5001);
  EXPECT_EQ(Sessions(client, request).status.error_code(),
            ::grpc::INVALID_ARGUMENT);
}

TEST_F(Reading, StateIsCountedForReadersAndShownWhereThatIsAllowed) {
  Start();
  const auto http = ServedClient(line());
  AdminClient client(Address());
  admin::v1::ListSessionsRequest request;
  request.add_types("http");
  request.set_state_size(true);
  const auto sizes = Sessions(client, request);
  ASSERT_TRUE(sizes.status.ok()) << sizes.status.error_message();
  ASSERT_EQ(sizes.messages.size(), 1u);
  EXPECT_GT(sizes.messages[0].sessions(0).state_bytes(), 0u);
  EXPECT_FALSE(sizes.messages[0].sessions(0).has_state());
  request.set_state(true);
  const auto refused = Sessions(client, request);
  EXPECT_EQ(refused.status.error_code(), ::grpc::PERMISSION_DENIED);
  EXPECT_EQ(ProblemOf(refused.status).reason(), "STATE_NOT_SHOWN");

  Start({"--admin_show_state=true"});
  AdminClient successor(Address());
  const auto shown = Sessions(successor, request);
  ASSERT_TRUE(shown.status.ok()) << shown.status.error_message();
  ASSERT_EQ(shown.messages.size(), 1u);
  const admin::v1::Session& session = shown.messages[0].sessions(0);
  EXPECT_TRUE(absl::StrContains(session.state().type_url(), "HttpConnection"))
      << session.DebugString();
  EXPECT_EQ(session.handoffs(), 1u);
}

TEST_F(Reading, TheSuccessorAnswersAtTheSameAddressAndKnowsTheHandoff) {
  Start();
  auto http = ServedClient(line());
  AdminClient before(Address());
  EXPECT_EQ(before.Status().generation(), 1u);
  const pid_t predecessor = serving();
  Upgrade();
  AdminClient client(Address());
  const GetStatusResponse status = client.Status();
  EXPECT_EQ(status.generation(), 2u);
  EXPECT_EQ(status.pid(), serving());
  ASSERT_TRUE(status.has_last_handoff());
  EXPECT_EQ(status.last_handoff().result(), "committed");
  EXPECT_EQ(status.last_handoff().predecessor_pid(), predecessor);

  admin::v1::ListHandoffsResponse handoffs;
  ASSERT_TRUE(
      client.Call(&admin::v1::Admin::Stub::ListHandoffs, {}, &handoffs).ok());
  ASSERT_EQ(handoffs.handoffs_size(), 1);
  EXPECT_EQ(handoffs.handoffs(0).id(), status.last_handoff().id());

  admin::v1::GetLedgerRequest request;
  request.set_handoff_id(status.last_handoff().id());
  request.add_outcomes("moved");
  {
    Context context;
    const auto ledger = ReadAll(client->GetLedger(&context, request));
    ASSERT_TRUE(ledger.status.ok()) << ledger.status.error_message();
    ASSERT_EQ(ledger.messages.size(), 1u);
    EXPECT_EQ(ledger.messages[0].handoff().id(), request.handoff_id());
    std::set<std::string> moved;
    for (const auto& entry : ledger.messages[0].entries()) {
      EXPECT_EQ(entry.outcome(), "moved");
      moved.insert(absl::StrCat(entry.category(), " ", entry.name()));
    }
    EXPECT_EQ(moved.count("session http"), 1u);
    EXPECT_EQ(moved.count("listener admin"), 1u);
  }
  request.set_handoff_id(1);
  {
    Context context;
    const auto ledger = ReadAll(client->GetLedger(&context, request));
    EXPECT_EQ(ledger.status.error_code(), ::grpc::NOT_FOUND);
    EXPECT_EQ(ProblemOf(ledger.status).reason(), "NO_SUCH_HANDOFF");
  }
}

TEST_F(Reading, HealthAndChannelzAnswer) {
  Start();
  const auto channel = Dial(Address());
  const RawAnswer health = CallRaw(channel, "/grpc.health.v1.Health/Check", "");
  EXPECT_TRUE(health.status.ok()) << health.status.error_message();
  EXPECT_EQ(health.bytes, std::string("\x08\x01", 2)) << "SERVING";
  const RawAnswer servers =
      CallRaw(channel, "/grpc.channelz.v1.Channelz/GetServers", "");
  EXPECT_TRUE(servers.status.ok()) << servers.status.error_message();
  EXPECT_FALSE(servers.bytes.empty());
}

// A client that has no line of ours, and no message.
TEST_F(Reading, AClientThatKnowsOnlyReflectionListsTheCallsAndMakesOne) {
  Start({"--label=reflected"});
  const auto channel = Dial(Address());
  const auto ask = [&channel](const ServerReflectionRequest& request) {
    const RawAnswer answer = CallRaw(
        channel,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request.SerializeAsString());
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    ServerReflectionResponse response;
    EXPECT_TRUE(response.ParseFromString(answer.bytes));
    return response;
  };

  ServerReflectionRequest request;
  request.set_list_services("*");
  std::string service;
  const ServerReflectionResponse services = ask(request);
  for (const auto& one : services.list_services_response().service()) {
    if (absl::EndsWith(one.name(), ".Admin")) service = one.name();
  }
  ASSERT_EQ(service, "handoff.admin.v1.Admin");

  request.set_file_containing_symbol(service);
  google::protobuf::SimpleDescriptorDatabase database;
  const ServerReflectionResponse files = ask(request);
  for (const std::string& bytes :
       files.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    database.Add(file);
  }
  google::protobuf::DescriptorPool pool(&database);
  const auto* found = pool.FindServiceByName(service);
  ASSERT_NE(found, nullptr);
  std::set<std::string> methods;
  for (int i = 0; i < found->method_count(); ++i) {
    methods.insert(found->method(i)->name());
  }
  EXPECT_EQ(methods,
            (std::set<std::string>{
                "AbortHandoff", "Drain", "GetLedger", "GetStatus",
                "ListDescriptors", "ListHandoffs", "ListSessions", "Lock",
                "SetAccepting", "StartHandoff", "Unlock", "WatchEvents"}));

  const auto* get_status = found->FindMethodByName("GetStatus");
  ASSERT_NE(get_status, nullptr);
  const RawAnswer answer =
      CallRaw(channel, absl::StrCat("/", service, "/GetStatus"), "");
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> message(
      factory.GetPrototype(get_status->output_type())->New());
  ASSERT_TRUE(message->ParseFromString(answer.bytes));
  const auto* field = get_status->output_type()->FindFieldByName("label");
  ASSERT_NE(field, nullptr);
  EXPECT_EQ(message->GetReflection()->GetString(*message, field), "reflected");
}

}  // namespace
}  // namespace handoff::admin_tests
