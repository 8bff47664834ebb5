// A gRPC service over TLS, and over TLS with certificates of clients, which
// hands over: for grpc_tls_test.
//
//   tls_service PATH CERTIFICATES
//
// prints "ready GENERATION TLS_PORT MUTUAL_TLS_PORT". CERTIFICATES is a folder
// with authority.pem, server.key and server.pem.

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "handoff/handoff.h"
#include "handoff/integrations/grpc/grpc_acceptor.h"
#include "server/echo.grpc.pb.h"

namespace handoff::server {
namespace {

class EchoService final : public v1::EchoService::Service {
 public:
  explicit EchoService(uint64_t generation) : generation_(generation) {}

  ::grpc::Status Echo(::grpc::ServerContext* /*context*/,
                      const v1::EchoRequest* request,
                      v1::EchoResponse* response) override {
    Answer(*request, 1, *response);
    return ::grpc::Status::OK;
  }
  ::grpc::Status Chat(
      ::grpc::ServerContext* /*context*/,
      ::grpc::ServerReaderWriter<v1::EchoResponse, v1::EchoRequest>* stream)
      override {
    v1::EchoRequest request;
    v1::EchoResponse response;
    for (uint64_t number = 1; stream->Read(&request); ++number) {
      Answer(request, number, response);
      if (!stream->Write(response)) break;
    }
    return ::grpc::Status::OK;
  }

 private:
  void Answer(const v1::EchoRequest& request, uint64_t number,
              v1::EchoResponse& response) const {
    response.set_text(request.text());
    response.set_number(number);
    response.set_generation(generation_);
  }
  const uint64_t generation_;
};

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

int Port(int listener) {
  sockaddr_in address = {};
  socklen_t size = sizeof(address);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

int Fail(const absl::Status& status) {
  fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

int Main(const std::string& path, const std::string& folder) {
  auto acceptor = GrpcAcceptor::Create("grpc", /*max_connections=*/100);
  if (!acceptor.ok()) return Fail(acceptor.status());
  Options options;
  options.path = path;
  options.deadlines.watch = absl::Seconds(1);
  options.state_types.push_back((*acceptor)->state_type());
  auto handoff = Handoff::Start(std::move(options));
  if (!handoff.ok()) return Fail(handoff.status());
  const auto tls = (*handoff)->Listen("tls", "tcp:127.0.0.1:0");
  if (!tls.ok()) return Fail(tls.status());
  const auto mutual = (*handoff)->Listen("mutual", "tcp:127.0.0.1:0");
  if (!mutual.ok()) return Fail(mutual.status());

  EchoService service((*handoff)->generation());
  ::grpc::ServerBuilder builder;
  ::grpc::SslServerCredentialsOptions credentials;
  credentials.pem_key_cert_pairs = {
      {ReadFile(folder + "/server.key"), ReadFile(folder + "/server.pem")}};
  const auto over_tls =
      GrpcAcceptor::AddTo(builder, ::grpc::SslServerCredentials(credentials));
  credentials.pem_root_certs = ReadFile(folder + "/authority.pem");
  credentials.client_certificate_request =
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  const auto over_mutual =
      GrpcAcceptor::AddTo(builder, ::grpc::SslServerCredentials(credentials));
  builder.RegisterService(&service);
  const std::unique_ptr<::grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return Fail(absl::InternalError("gRPC"));

  (*acceptor)->Register(**handoff);
  (*acceptor)->Listen("tls", *tls, over_tls.get());
  (*acceptor)->Listen("mutual", *mutual, over_mutual.get());
  if (absl::Status s = (*handoff)->Ready(); !s.ok()) return Fail(s);
  (*acceptor)->Start({server.get()});
  printf("ready %d %d %d\n", static_cast<int>((*handoff)->generation()),
         Port(*tls), Port(*mutual));
  fflush(stdout);

  const auto ended = (*handoff)->Wait();
  (*acceptor)->Stop();
  server->Shutdown(std::chrono::system_clock::now());
  handoff->reset();
  return ended.ok() ? 0 : Fail(ended.status());
}

}  // namespace
}  // namespace handoff::server

int main(int argc, char** argv) {
  return argc == 3 ? handoff::server::Main(argv[1], argv[2]) : 2;
}
