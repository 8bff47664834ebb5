#include "server/grpc_service.h"

#include <chrono>
#include <cstdint>
#include <utility>

#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "server/echo.grpc.pb.h"
#include "server/process_setup.h"

namespace handoff::server {
namespace {

void Answer(const ServiceInfo& info, const v1::EchoRequest& request,
            uint64_t number, v1::EchoResponse& response) {
  response.set_text(request.text());
  response.set_number(number);
  response.set_pid(info.pid);
  response.set_label(info.label);
  response.set_generation(info.generation);
}

// Reads a message, answers it, and reads the next: it holds one at a time.
class ChatReactor final
    : public ::grpc::ServerBidiReactor<v1::EchoRequest, v1::EchoResponse> {
 public:
  explicit ChatReactor(const ServiceInfo* info) : info_(info) {
    StartRead(&request_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(::grpc::Status::OK);
      return;
    }
    Answer(*info_, request_, ++number_, response_);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) {
      Finish(::grpc::Status::CANCELLED);
      return;
    }
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

  const ServiceInfo* const info_;
  uint64_t number_ = 0;
  v1::EchoRequest request_;
  v1::EchoResponse response_;
};

}  // namespace

class GrpcService::EchoService final : public v1::EchoService::CallbackService {
 public:
  explicit EchoService(const ServiceInfo* info) : info_(info) {}

  ::grpc::ServerUnaryReactor* Echo(::grpc::CallbackServerContext* context,
                                   const v1::EchoRequest* request,
                                   v1::EchoResponse* response) override {
    Answer(*info_, *request, 1, *response);
    ::grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(::grpc::Status::OK);
    return reactor;
  }

  ::grpc::ServerBidiReactor<v1::EchoRequest, v1::EchoResponse>* Chat(
      ::grpc::CallbackServerContext* /*context*/) override {
    return new ChatReactor(info_);
  }

 private:
  const ServiceInfo* const info_;
};

absl::StatusOr<std::unique_ptr<GrpcService>> GrpcService::Create(
    const ServiceInfo* info, size_t max_connections) {
  auto acceptor = GrpcAcceptor::Create(kGrpc, max_connections);
  if (!acceptor.ok()) return acceptor.status();
  ::grpc::EnableDefaultHealthCheckService(true);
  ::grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  return std::unique_ptr<GrpcService>(
      new GrpcService(info, *std::move(acceptor)));
}

GrpcService::GrpcService(const ServiceInfo* info,
                         std::unique_ptr<GrpcAcceptor> acceptor)
    : acceptor_(std::move(acceptor)),
      echo_(std::make_unique<EchoService>(info)) {}

GrpcService::~GrpcService() { Stop(); }

absl::StatusOr<std::string> GrpcService::Listen(Handoff& handoff,
                                                const std::string& address) {
  const absl::StatusOr<int> listener = handoff.Listen(kGrpc, address);
  if (!listener.ok()) return listener.status();
  ::grpc::ServerBuilder builder;
  connections_ =
      GrpcAcceptor::AddTo(builder, ::grpc::InsecureServerCredentials());
  builder.RegisterService(echo_.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return absl::InternalError("gRPC does not start");
  acceptor_->Register(handoff);
  acceptor_->Listen(kGrpc, *listener, connections_.get());
  return ListenerAddress(*listener, address);
}

void GrpcService::Serve() { acceptor_->Start({server_.get()}); }

void GrpcService::Stop() {
  acceptor_->Stop();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
}

}  // namespace handoff::server
