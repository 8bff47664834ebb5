#ifndef HANDOFF_INTEGRATIONS_ADMIN_ADMIN_ENDPOINT_H_
#define HANDOFF_INTEGRATIONS_ADMIN_ADMIN_ENDPOINT_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "handoff/handoff.h"
#include "handoff/integrations/admin/admin_options.h"
#include "handoff/integrations/admin/admin_server.h"
#include "handoff/integrations/admin/admin_service.h"
#include "handoff/integrations/admin/caller.h"
#include "handoff/integrations/grpc/grpc_acceptor.h"

namespace handoff {

// proto/admin.proto, served to operators on a listener that is handed over with
// the others, under the name "admin". README.md has the calls and the trust.
//
//   std::unique_ptr<AdminEndpoint> admin;  // outlives the Handoff
//   options.state_types.push_back(AdminEndpoint::Type());
//   auto handoff = Handoff::Start(options);
//   admin = *AdminEndpoint::Create(*handoff, {"unix:/run/chat/admin.sock"});
//   handoff->Ready();
//   admin->Serve();
//   handoff->Wait();
//   admin->Stop();  // then the Handoff ends, then the endpoint
//
// It never blocks a handoff: connections stay with the process that has
// accepted them, and new ones go to the successor.
//
// Thread-safety: one thread calls all of this.
class AdminEndpoint final : private Group {
 public:
  // For Options::state_types.
  static StateType Type();

  // Between Start() and Ready(). Before anything else of gRPC is used, unless a
  // GrpcAcceptor is there already.
  //
  // INVALID_ARGUMENT  the address, TLS files that are missing or wrong, roles
  //                   that mean nothing there; TCP without TLS, where
  //                   insecure_plaintext_tcp is not set; and a predecessor's
  //                   listener at which the trust would be another
  // other codes       of Handoff::Listen()
  static absl::StatusOr<std::unique_ptr<AdminEndpoint>> Create(
      Handoff& handoff, AdminOptions options);
  ~AdminEndpoint() override { Stop(); }

  // Has gRPC's channelz, which shows all connections of the process, left out
  // of a server of the service's own that is built after Create().
  static std::unique_ptr<::grpc::ServerBuilderOption> WithoutChannelz();

  // Borrowed, of the Handoff.
  int listener() const { return listener_; }

  // After Ready() has returned OK. By absl::ErrnoToStatus, where the mode of
  // the Unix socket cannot be set; it serves all the same, with the mode that
  // there is.
  absl::Status Serve();

  // After Wait(). Asks clients to leave, cancels what is under way after two
  // seconds, and ends the threads: what one of them is in the middle of, such
  // as reading state, may take it 5 s. Calling again does nothing.
  void Stop();

 private:
  AdminEndpoint(Handoff& handoff, AdminOptions options);

  absl::Status Prepare(Handoff& handoff);
  absl::Status PrepareUnix();
  absl::Status PrepareTcp();
  absl::StatusOr<AdminServer*> AddServer(uid_t uid, AdminRole role);
  absl::Status SetMode() const;
  ::grpc::experimental::ExternalConnectionAcceptor* Route(int connection);
  void Refused(const std::string& who, const std::string& why);
  void End();

  // Group: what the acceptor does, but whoever operates is not shut out.
  void Post(std::function<void()> fn) override;
  absl::Status Snapshot(Session& session, SessionWriter& writer) override;
  void Quiesce() override { acceptor_->Quiesce(); }
  void Thaw() override { acceptor_->Thaw(); }
  void Release(absl::Span<const std::shared_ptr<Session>> moved,
               absl::Span<const std::string> unclaimed) override {
    acceptor_->Release(moved, unclaimed);
  }
  void Drain() override;

  Control& control_;
  const AdminOptions options_;
  const uid_t own_uid_;
  AdminCalls calls_;
  std::unique_ptr<GrpcAcceptor> acceptor_;
  int listener_ = -1;
  bool serving_ = false;
  bool stopped_ = false;

  // Of the acceptor's thread, once that runs. gRPC does not tell which
  // connection a call has come on, so there is a server for each user and role.
  std::map<std::pair<uid_t, AdminRole>, std::unique_ptr<AdminServer>> by_user_;
  // How many of those were made for somebody whom the options do not name.
  std::map<AdminRole, size_t> others_;
  std::unique_ptr<AdminServer> tcp_server_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_ADMIN_ENDPOINT_H_
