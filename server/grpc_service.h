#ifndef HANDOFF_SERVER_GRPC_SERVICE_H_
#define HANDOFF_SERVER_GRPC_SERVICE_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "handoff/handoff.h"
#include "handoff/integrations/grpc/grpc_acceptor.h"
#include "server/service_info.h"

namespace handoff::server {

// The name of the listener and of the sessions' type.
inline constexpr char kGrpc[] = "grpc";

// Echo of echo.proto, grpc.health.v1 and reflection, over plain HTTP/2.
//
//   Create(), Listen(), Handoff::Ready(), Serve(); then perhaps BeginDrain()
//   and AwaitDrained(); Stop()
//
// Called by one thread; EndDrain() by any. Outlives the Handoff.
class GrpcService {
 public:
  // Before anything else of gRPC; it makes threads. `info` is borrowed and
  // outlives this.
  static absl::StatusOr<std::unique_ptr<GrpcService>> Create(
      const ServiceInfo* info, size_t max_connections);
  ~GrpcService();

  // The address that it listens at. Codes of Handoff::Listen().
  absl::StatusOr<std::string> Listen(Handoff& handoff,
                                     const std::string& address);
  void Serve();

  // As those of GrpcAcceptor.
  void BeginDrain() { acceptor_->BeginDrain(); }
  size_t AwaitDrained(absl::Duration timeout) {
    return acceptor_->AwaitDrained(timeout);
  }
  void EndDrain() { acceptor_->EndDrain(); }

  // Cuts off what is left. Before the Handoff ends.
  void Stop();

 private:
  class EchoService;

  GrpcService(const ServiceInfo* info, std::unique_ptr<GrpcAcceptor> acceptor);

  const std::unique_ptr<GrpcAcceptor> acceptor_;
  const std::unique_ptr<EchoService> echo_;
  std::unique_ptr<::grpc::experimental::ExternalConnectionAcceptor>
      connections_;
  std::unique_ptr<::grpc::Server> server_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_GRPC_SERVICE_H_
