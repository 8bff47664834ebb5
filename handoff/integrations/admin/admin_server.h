#ifndef HANDOFF_INTEGRATIONS_ADMIN_ADMIN_SERVER_H_
#define HANDOFF_INTEGRATIONS_ADMIN_ADMIN_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "handoff/integrations/admin/admin_options.h"
#include "handoff/integrations/admin/admin_service.h"
#include "handoff/integrations/admin/caller.h"

namespace handoff {

// One gRPC server that takes accepted connections: Admin, health, reflection,
// and channelz.
class AdminServer {
 public:
  // `calls` is borrowed. INTERNAL where gRPC does not start.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Create(
      AdminCalls& calls, AdminService::Who who,
      std::shared_ptr<::grpc::ServerCredentials> credentials);
  // After Shutdown().
  ~AdminServer() = default;

  ::grpc::experimental::ExternalConnectionAcceptor* connections() {
    return connections_.get();
  }
  // Health says NOT_SERVING from now on.
  void SayNotServing();
  // Returns when every call has ended; what is left at the deadline is
  // cancelled.
  void Shutdown(absl::Time deadline);

 private:
  AdminServer(AdminCalls& calls, AdminService::Who who)
      : service_(calls, std::move(who)) {}

  AdminService service_;
  std::unique_ptr<::grpc::experimental::ExternalConnectionAcceptor>
      connections_;
  std::unique_ptr<::grpc::Server> server_;
};

// Requires and verifies a client's certificate, and refuses every call, also of
// reflection and channelz, where that has no role. INVALID_ARGUMENT where a
// file is missing or of no use.
absl::StatusOr<std::shared_ptr<::grpc::ServerCredentials>> TlsCredentials(
    const AdminTls& tls, AdminParty operators, AdminParty readers);

// Who called over TLS, by the name in the certificate.
Caller CertificateCaller(const ::grpc::AuthContext& context,
                         const AdminParty& operators,
                         const AdminParty& readers);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_ADMIN_SERVER_H_
