#include "handoff/integrations/grpc/grpc_acceptor.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/internal/sysinfo.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/integrations/grpc/leave_timers.h"
#include "handoff/integrations/grpc/test_certificates.h"

namespace handoff {
namespace {

using ::grpc::ByteBuffer;

constexpr absl::Duration kPatience = absl::Seconds(30);

bool Eventually(const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!done()) {
    if (absl::Now() > deadline) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

// Clients of gRPC before 1.61 take a connect for failed where errno has another
// value than connect(2) left. Abseil's locks cause that once in a process, when
// they first ask for the clock's frequency: here, before any connect.
[[maybe_unused]] const double clock_frequency =
    absl::base_internal::NominalCPUFrequency();

// Leaves this process only so many descriptors that it can open.
class Scarcity {
 public:
  explicit Scarcity(int free) {
    int highest = 0;
    DIR* folder = opendir("/proc/self/fd");
    while (const dirent* entry = readdir(folder)) {
      highest = std::max(highest, atoi(entry->d_name));
    }
    closedir(folder);
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(highest + 1 + kPlugs);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (true) {
      UniqueFd plug(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
      if (!plug) break;
      plugs_.push_back(std::move(plug));
    }
    Free(free);
  }
  ~Scarcity() { setrlimit(RLIMIT_NOFILE, &before_); }

  void Free(int more) {
    ASSERT_GE(plugs_.size(), static_cast<size_t>(more));
    for (int i = 0; i < more; ++i) plugs_.pop_back();
  }

 private:
  static constexpr int kPlugs = 8;
  rlimit before_ = {};
  std::vector<UniqueFd> plugs_;
};

// Whether whoever is at the other end is served: a server speaks first.
bool IsServed(int client) {
  pollfd polled = {client, POLLIN, 0};
  char byte;
  return poll(&polled, 1, static_cast<int>(kPatience / absl::Milliseconds(1))) >
             0 &&
         read(client, &byte, 1) == 1;
}

// How many sockets this process has.
int Sockets() {
  int sockets = 0;
  DIR* folder = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(folder)) {
    char target[64] = "";
    if (readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1) >
            0 &&
        absl::StartsWith(target, "socket:")) {
      ++sockets;
    }
  }
  closedir(folder);
  return sockets;
}

// Answers every unary call with what it was sent.
class Echo final : public ::grpc::CallbackGenericService {
  class Reactor final : public ::grpc::ServerGenericBidiReactor {
   public:
    Reactor() { StartRead(&message_); }

   private:
    void OnReadDone(bool ok) override {
      if (!ok) {
        Finish(::grpc::Status::CANCELLED);
        return;
      }
      StartWriteAndFinish(&message_, {}, ::grpc::Status::OK);
    }
    void OnDone() override { delete this; }
    ByteBuffer message_;
  };
  ::grpc::ServerGenericBidiReactor* CreateReactor(
      ::grpc::GenericCallbackServerContext* /*context*/) override {
    return new Reactor;
  }
};

// A process that serves gRPC, on a fresh start.
class GrpcAcceptorTest : public testing::Test {
 protected:
  void Serve(std::shared_ptr<::grpc::ServerCredentials> credentials,
             const std::string& address = "tcp:127.0.0.1:0",
             size_t max_connections = 100) {
    auto acceptor = GrpcAcceptor::Create("grpc", max_connections);
    ASSERT_TRUE(acceptor.ok()) << acceptor.status();
    acceptor_ = *std::move(acceptor);
    Options options;
    options.path = folder_ / "handoff";
    options.state_types.push_back(acceptor_->state_type());
    auto handoff = Handoff::Start(std::move(options));
    ASSERT_TRUE(handoff.ok()) << handoff.status();
    handoff_ = *std::move(handoff);
    const auto listener = handoff_->Listen("grpc", address);
    ASSERT_TRUE(listener.ok()) << listener.status();
    target_ = address;
    if (absl::StartsWith(address, "tcp:")) {
      sockaddr_in bound = {};
      socklen_t size = sizeof(bound);
      getsockname(*listener, reinterpret_cast<sockaddr*>(&bound), &size);
      port_ = ntohs(bound.sin_port);
      target_ = absl::StrCat("127.0.0.1:", port_);
    }

    ::grpc::ServerBuilder builder;
    connections_ = GrpcAcceptor::AddTo(builder, std::move(credentials));
    builder.RegisterCallbackGenericService(&echo_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    acceptor_->Register(*handoff_);
    acceptor_->Listen("grpc", *listener, [this](int) {
      ++accepted_;
      return refuses_ ? nullptr : connections_.get();
    });
    ASSERT_TRUE(handoff_->Ready().ok());
    acceptor_->Start({server_.get()});
  }

  void TearDown() override {
    if (handoff_ == nullptr) return;
    handoff_->Stop();
    acceptor_->Stop();
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
    handoff_.reset();
  }

  std::shared_ptr<::grpc::Channel> Connect(
      const std::shared_ptr<::grpc::ChannelCredentials>& credentials) {
    ::grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return ::grpc::CreateCustomChannel(target_, credentials, arguments);
  }

  static ::grpc::Status Call(const std::shared_ptr<::grpc::Channel>& channel,
                             absl::Duration timeout = kPatience) {
    ::grpc::GenericStub stub(channel);
    ::grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    const ::grpc::Slice slice(std::string("hello"));
    const ByteBuffer request(&slice, 1);
    ByteBuffer response;
    std::promise<::grpc::Status> done;
    stub.UnaryCall(&context, "/any/method", {}, &request, &response,
                   [&](::grpc::Status s) { done.set_value(std::move(s)); });
    return done.get_future().get();
  }

  UniqueFd ConnectRaw() {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                      sizeof(address)),
              0);
    return fd;
  }

  // So that gRPC has opened all that it needs for itself.
  void ServeOneRawClient() {
    const int before = Sockets();
    EXPECT_TRUE(IsServed(ConnectRaw().get()));
    EXPECT_TRUE(Eventually([&] { return Sockets() == before; }));
  }

  // One call over a new connection, which then ends: nothing of it is left.
  void CallAndLeave(
      const std::shared_ptr<::grpc::ChannelCredentials>& credentials) {
    const int before = Sockets();
    {
      const auto channel = Connect(credentials);
      const ::grpc::Status status = Call(channel);
      EXPECT_TRUE(status.ok()) << status.error_message();
      // The client's, the server's, and its duplicate.
      EXPECT_EQ(Sockets(), before + 3);
    }
    EXPECT_TRUE(Eventually([&] { return Sockets() == before; }))
        << Sockets() << " sockets where there were " << before;
  }

  void SetAccepting(bool accepting) {
    std::promise<void> done;
    acceptor_->Post([&] {
      EXPECT_TRUE(acceptor_->SetAccepting(accepting));
      done.set_value();
    });
    done.get_future().get();
  }

  const TempFolder folder_;
  std::string target_;
  uint16_t port_ = 0;
  std::atomic<int> accepted_{0};
  std::atomic<bool> refuses_{false};
  std::unique_ptr<GrpcAcceptor> acceptor_;
  Echo echo_;
  std::unique_ptr<::grpc::experimental::ExternalConnectionAcceptor>
      connections_;
  std::unique_ptr<::grpc::Server> server_;
  std::unique_ptr<Handoff> handoff_;
};

TEST_F(GrpcAcceptorTest, AConnectionLeavesNothingBehind) {
  Serve(::grpc::InsecureServerCredentials());
  CallAndLeave(::grpc::InsecureChannelCredentials());
}

TEST_F(GrpcAcceptorTest, AConnectionOverAUnixSocketLeavesNothingBehind) {
  Serve(::grpc::InsecureServerCredentials(),
        absl::StrCat("unix:", folder_ / "grpc"));
  CallAndLeave(::grpc::InsecureChannelCredentials());
}

TEST_F(GrpcAcceptorTest, ATlsConnectionLeavesNothingBehind) {
  const TestCertificates certificates = MakeTestCertificates();
  ::grpc::SslServerCredentialsOptions server;
  server.pem_key_cert_pairs = {
      {certificates.server.key, certificates.server.certificate}};
  Serve(::grpc::SslServerCredentials(server));
  ::grpc::SslCredentialsOptions client;
  client.pem_root_certs = certificates.authority;
  CallAndLeave(::grpc::SslCredentials(client));
}

TEST_F(GrpcAcceptorTest, MutualTlsAdmitsWhoHasACertificateOfTheAuthority) {
  const TestCertificates certificates = MakeTestCertificates();
  ::grpc::SslServerCredentialsOptions server(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  server.pem_root_certs = certificates.authority;
  server.pem_key_cert_pairs = {
      {certificates.server.key, certificates.server.certificate}};
  Serve(::grpc::SslServerCredentials(server));
  const int before = Sockets();
  ::grpc::SslCredentialsOptions client;
  client.pem_root_certs = certificates.authority;
  EXPECT_EQ(Call(Connect(::grpc::SslCredentials(client))).error_code(),
            ::grpc::StatusCode::UNAVAILABLE)
      << "without a certificate";
  client.pem_private_key = certificates.stranger.key;
  client.pem_cert_chain = certificates.stranger.certificate;
  EXPECT_EQ(Call(Connect(::grpc::SslCredentials(client))).error_code(),
            ::grpc::StatusCode::UNAVAILABLE)
      << "with a stranger's certificate";
  EXPECT_TRUE(Eventually([&] { return Sockets() == before; }))
      << Sockets() << " sockets where there were " << before;
  client.pem_private_key = certificates.client.key;
  client.pem_cert_chain = certificates.client.certificate;
  CallAndLeave(::grpc::SslCredentials(client));
}

TEST_F(GrpcAcceptorTest, AClientThatSpeaksNoHttp2OrDiesLeavesNothingBehind) {
  Serve(::grpc::InsecureServerCredentials());
  const int before = Sockets();
  UniqueFd garbage = ConnectRaw();
  UniqueFd dies = ConnectRaw();
  UniqueFd leaves = ConnectRaw();
  ASSERT_TRUE(Eventually([&] { return accepted_ == 3; }));
  EXPECT_EQ(write(garbage.get(), "GET / HTTP/1.0\r\n\r\n", 18), 18);
  const linger reset = {1, 0};
  setsockopt(dies.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  dies.reset();
  leaves.reset();
  EXPECT_TRUE(Eventually([&] { return Sockets() == before + 1; }))
      << Sockets() << " sockets where there were " << before
      << ", and one of a client";
  char answer[256];
  while (read(garbage.get(), answer, sizeof(answer)) > 0) continue;
}

TEST_F(GrpcAcceptorTest, WhoHasNoRouteIsClosedUnserved) {
  Serve(::grpc::InsecureServerCredentials());
  refuses_ = true;
  const int before = Sockets();
  UniqueFd client = ConnectRaw();
  char byte;
  EXPECT_EQ(read(client.get(), &byte, 1), 0);
  EXPECT_EQ(Sockets(), before + 1);
}

TEST_F(GrpcAcceptorTest, OneMoreThanTheLimitWaitsUntilOneEnds) {
  Serve(::grpc::InsecureServerCredentials(), "tcp:127.0.0.1:0",
        /*max_connections=*/1);
  auto first = Connect(::grpc::InsecureChannelCredentials());
  EXPECT_TRUE(Call(first).ok());
  const auto second = Connect(::grpc::InsecureChannelCredentials());
  EXPECT_EQ(Call(second, absl::Milliseconds(100)).error_code(),
            ::grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(accepted_, 1);
  first.reset();
  EXPECT_TRUE(Call(second).ok());
}

TEST_F(GrpcAcceptorTest, WhoConnectsWhileNothingIsAcceptedIsServedLater) {
  Serve(::grpc::InsecureServerCredentials());
  const auto before = Connect(::grpc::InsecureChannelCredentials());
  EXPECT_TRUE(Call(before).ok());
  SetAccepting(false);
  const auto after = Connect(::grpc::InsecureChannelCredentials());
  EXPECT_EQ(Call(after, absl::Milliseconds(100)).error_code(),
            ::grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Call(before).ok()) << "who is there already goes on";
  SetAccepting(true);
  EXPECT_TRUE(Call(after).ok());
}

// In a target of its own: see BUILD.bazel.
class ScarcityTest : public GrpcAcceptorTest {};

TEST_F(ScarcityTest, NoClientIsDroppedForWantOfADescriptor) {
  Serve(::grpc::InsecureServerCredentials());
  ServeOneRawClient();
  SetAccepting(false);
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(ConnectRaw());
  // Each takes two: it is the second that there is not enough for.
  Scarcity scarcity(3);
  SetAccepting(true);
  for (size_t i = 0; i < clients.size(); ++i) {
    EXPECT_TRUE(IsServed(clients[i].get())) << "client " << i;
    clients[i].reset();  // which makes room
  }
}

TEST_F(ScarcityTest, WhoFoundNoDescriptorIsServedByABusyThreadToo) {
  Serve(::grpc::InsecureServerCredentials());
  ServeOneRawClient();
  SetAccepting(false);
  const UniqueFd waits = ConnectRaw();
  Scarcity scarcity(0);
  SetAccepting(true);
  std::promise<void> turned;
  acceptor_->Post([&] { turned.set_value(); });
  turned.get_future().get();
  std::atomic<bool> over{false};
  std::thread posts([&] {
    while (!over) {
      acceptor_->Post([] {});
      ::poll(nullptr, 0, 1);
    }
  });
  scarcity.Free(2);
  EXPECT_TRUE(IsServed(waits.get()));
  over = true;
  posts.join();
}

TEST_F(GrpcAcceptorTest, ClientsThatAreAskedToLeaveLoseNoCall) {
  constexpr int kClients = 8;
  constexpr int kTimes = 5;
  Serve(::grpc::InsecureServerCredentials());
  std::atomic<bool> stop{false};
  std::atomic<int> calls{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    const auto channel = Connect(::grpc::InsecureChannelCredentials());
    ASSERT_TRUE(Call(channel).ok());
    clients.emplace_back([&stop, &calls, channel] {
      while (!stop) {
        const ::grpc::Status status = Call(channel);
        EXPECT_TRUE(status.ok())
            << status.error_code() << " " << status.error_message();
        if (!status.ok()) return;
        ++calls;
      }
    });
  }
  for (int i = 1; i <= kTimes; ++i) {
    const int before = calls;
    EXPECT_TRUE(Eventually([&] { return calls > before + 200; }));
    AskClientsToLeave(/*from_now_on=*/false);
    EXPECT_TRUE(Eventually([&] { return accepted_ == kClients * (i + 1); }))
        << accepted_ << " connections: not every client has left";
  }
  stop = true;
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace handoff
