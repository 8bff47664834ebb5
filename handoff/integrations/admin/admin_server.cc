#include "handoff/integrations/admin/admin_server.h"

#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/health_check_service_interface.h>

#include <fstream>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "handoff/integrations/admin/operator_calls.h"
#include "handoff/integrations/admin/problem.h"
#include "handoff/integrations/grpc/grpc_acceptor.h"

namespace handoff {
namespace {

// A hundred watchers may share a connection, and other calls have room beside.
constexpr int kMostStreams = 256;
constexpr int kMostRequestBytes = 1024 * 1024;
constexpr int kHandshakeMs = 10'000;
// For reflection and channelz, which are gRPC's and block a thread for each
// stream; what is beyond gets RESOURCE_EXHAUSTED.
constexpr int kMostThreads = 8;

// The plugin for this server alone: gRPC's own call is for all of a process.
class WithReflection final : public ::grpc::ServerBuilderOption {
 public:
  void UpdateArguments(::grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<::grpc::ServerBuilderPlugin>>*
                         plugins) override {
    for (const auto& plugin : *plugins) {
      if (plugin->name() == kName) return;
    }
    plugins->push_back(
        std::make_unique<::grpc::reflection::ProtoServerReflectionPlugin>());
  }

 private:
  static constexpr char kName[] = "proto_server_reflection";
};

absl::StatusOr<std::string> ReadFile(absl::string_view what,
                                     const std::string& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what,
                     " is missing: TLS takes the server's certificate, its "
                     "key, and the certificate of the clients' authority"));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file),
                   std::istreambuf_iterator<char>()};
  if (!file.good() || text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what, " cannot be read: ", path));
  }
  return text;
}

// gRPC takes credentials that cannot work for accepted connections without a
// word, but not for a port of its own.
absl::Status TryOut(const std::shared_ptr<::grpc::ServerCredentials>& tls) {
  ::grpc::CallbackGenericService nobody;
  ::grpc::ServerBuilder builder;
  builder.RegisterCallbackGenericService(&nobody);
  builder.AddListeningPort("127.0.0.1:0", tls);
  const std::unique_ptr<::grpc::Server> server = builder.BuildAndStart();
  if (server != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "gRPC cannot use what is in the TLS files: they are PEM, and the key is "
      "that of the certificate");
}

class OnlyWithRole final : public ::grpc::AuthMetadataProcessor {
 public:
  OnlyWithRole(AdminParty operators, AdminParty readers)
      : operators_(std::move(operators)), readers_(std::move(readers)) {}

  bool IsBlocking() const override { return false; }
  ::grpc::Status Process(const InputMetadata& /*metadata*/,
                         ::grpc::AuthContext* context,
                         OutputMetadata* /*consumed*/,
                         OutputMetadata* /*response*/) override {
    const Caller caller = CertificateCaller(*context, operators_, readers_);
    if (caller.role != AdminRole::kNone) return ::grpc::Status::OK;
    return ToGrpc(Problem(absl::StatusCode::kPermissionDenied, "NO_ROLE",
                          absl::StrCat(caller.name, " has no role here"),
                          "have its name made a reader or an operator"));
  }

 private:
  const AdminParty operators_;
  const AdminParty readers_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Create(
    AdminCalls& calls, AdminService::Who who,
    std::shared_ptr<::grpc::ServerCredentials> credentials) {
  // Of the process, for every server that is built from now on: gRPC has no
  // other way.
  static std::once_flag channelz;
  std::call_once(channelz, ::grpc::channelz::experimental::InitChannelzService);
  ::grpc::EnableDefaultHealthCheckService(true);

  std::unique_ptr<AdminServer> made(new AdminServer(calls, std::move(who)));
  ::grpc::ServerBuilder builder;
  builder.RegisterService(&made->service_);
  builder.SetOption(std::make_unique<WithReflection>());
  builder.SetMaxReceiveMessageSize(kMostRequestBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostStreams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             kHandshakeMs);
  builder.SetResourceQuota(
      ::grpc::ResourceQuota("admin").SetMaxThreads(kMostThreads));
  made->connections_ = GrpcAcceptor::AddTo(builder, std::move(credentials));
  made->server_ = builder.BuildAndStart();
  if (made->server_ == nullptr) {
    return absl::InternalError("gRPC does not start the admin endpoint");
  }
  return made;
}

void AdminServer::SayNotServing() {
  server_->GetHealthCheckService()->SetServingStatus(false);
}

void AdminServer::Shutdown(absl::Time deadline) {
  server_->Shutdown(absl::ToChronoTime(deadline));
  server_->Wait();
}

absl::StatusOr<std::shared_ptr<::grpc::ServerCredentials>> TlsCredentials(
    const AdminTls& tls, AdminParty operators, AdminParty readers) {
  const auto certificate = ReadFile("certificate", tls.certificate);
  if (!certificate.ok()) return certificate.status();
  const auto key = ReadFile("key", tls.key);
  if (!key.ok()) return key.status();
  const auto authority = ReadFile("clients' authority", tls.client_authority);
  if (!authority.ok()) return authority.status();
  ::grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_key_cert_pairs.push_back({*key, *certificate});
  options.pem_root_certs = *authority;
  auto credentials = ::grpc::SslServerCredentials(options);
  const absl::Status works = TryOut(credentials);
  if (!works.ok()) return works;
  credentials->SetAuthMetadataProcessor(
      std::make_shared<OnlyWithRole>(std::move(operators), std::move(readers)));
  return credentials;
}

Caller CertificateCaller(const ::grpc::AuthContext& context,
                         const AdminParty& operators,
                         const AdminParty& readers) {
  std::vector<std::string> names;
  for (const ::grpc::string_ref& name : context.GetPeerIdentity()) {
    names.emplace_back(name.data(), name.size());
  }
  return {RoleOf(names, operators, readers),
          absl::StrCat("certificate ", names.empty() ? "without a name"
                                                     : Quoted(names.front()))};
}

}  // namespace handoff
