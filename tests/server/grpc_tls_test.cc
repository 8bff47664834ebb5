// gRPC over TLS through a handoff.

#include <sys/wait.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/integrations/grpc/test_certificates.h"
#include "tests/server/grpc_clients.h"
#include "tests/server/served.h"
#include "tools/load/server_processes.h"

namespace handoff::server {
namespace {

class GrpcTlsTest : public testing::Test {
 protected:
  GrpcTlsTest() : processes_(*load::ServerProcesses::Create(folder_ / "log")) {
    Write("authority.pem", certificates_.authority);
    Write("server.key", certificates_.server.key);
    Write("server.pem", certificates_.server.certificate);
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }

  // Starts the service, or one that takes over from it; waits until it serves.
  pid_t Start(const std::string& generation) {
    auto pid = processes_.Start(
        {"tests/server/tls_service", folder_ / "h", folder_.path()});
    EXPECT_TRUE(pid.ok()) << pid.status();
    absl::optional<std::string> ready;
    EXPECT_TRUE(Eventually([&] {
      ready = processes_.TakeLine();
      return ready.has_value();
    }));
    ports_ = absl::StrSplit(ready.value_or(""), ' ');
    EXPECT_EQ(ports_.size(), 4u) << ready.value_or("");
    EXPECT_EQ(ports_[1], generation);
    return pid.value_or(-1);
  }

  std::shared_ptr<::grpc::Channel> Connect(
      int port, const TestCertificates::Identity& identity) {
    ::grpc::SslCredentialsOptions options;
    options.pem_root_certs = certificates_.authority;
    options.pem_private_key = identity.key;
    options.pem_cert_chain = identity.certificate;
    return ConnectGrpc(absl::StrCat("127.0.0.1:", ports_[port]),
                       ::grpc::SslCredentials(options));
  }
  std::shared_ptr<::grpc::Channel> ConnectTls() { return Connect(2, {}); }
  std::shared_ptr<::grpc::Channel> ConnectMutual() {
    return Connect(3, certificates_.client);
  }

  void ExpectRefused(const TestCertificates::Identity& identity) {
    ::grpc::ClientContext context;
    v1::EchoResponse response;
    EXPECT_EQ(v1::EchoService::NewStub(Connect(3, identity))
                  ->Echo(&context, {}, &response)
                  .error_code(),
              ::grpc::StatusCode::UNAVAILABLE);
  }

  const TestCertificates certificates_ = MakeTestCertificates();
  const TempFolder folder_;
  load::ServerProcesses processes_;
  std::vector<std::string> ports_;
};

TEST_F(GrpcTlsTest, ConnectionsLiveThroughAHandoffAndStrangersAreRefused) {
  const pid_t first = Start("1");
  const auto tls = ConnectTls();
  const auto mutual = ConnectMutual();
  EXPECT_EQ(EchoGeneration(tls), 1u);
  EXPECT_EQ(EchoGeneration(mutual), 1u);
  Chat tls_chat(tls);
  Chat mutual_chat(mutual);
  EXPECT_EQ(tls_chat.Say(), 1u);
  EXPECT_EQ(mutual_chat.Say(), 1u);
  ExpectRefused({});
  ExpectRefused(certificates_.stranger);

  Start("2");
  EXPECT_EQ(EchoGeneration(ConnectTls()), 2u);
  EXPECT_EQ(EchoGeneration(ConnectMutual()), 2u);
  ExpectRefused({});
  ExpectRefused(certificates_.stranger);
  EXPECT_TRUE(Eventually([&] { return EchoGeneration(tls) == 2; }));
  EXPECT_TRUE(Eventually([&] { return EchoGeneration(mutual) == 2; }));
  EXPECT_EQ(tls_chat.Say(), 1u) << "a stream goes on where it began";
  EXPECT_EQ(mutual_chat.Say(), 1u);
  EXPECT_TRUE(tls_chat.End().ok());
  EXPECT_TRUE(mutual_chat.End().ok());
  absl::optional<int> status;
  EXPECT_TRUE(Eventually([&] {
    status = processes_.Ended(first);
    return status.has_value();
  }));
  EXPECT_EQ(status, 0) << load::ServerProcesses::Describe(status.value_or(-1));
}

}  // namespace
}  // namespace handoff::server
