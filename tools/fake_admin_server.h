#ifndef HANDOFF_TOOLS_FAKE_ADMIN_SERVER_H_
#define HANDOFF_TOOLS_FAKE_ADMIN_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/admin.grpc.pb.h"

namespace handoff {

// For tests: a service that has an admin endpoint, as far as whoever calls it
// can tell. It has a listener and three sessions; one of them cannot move. What
// it executes is "/opt/new", which takes over, "/opt/broken", which cannot, or
// "/opt/crashing", which ends before it begins. Thread-safe.
class FakeAdminServer final : public admin::v1::Admin::Service {
 public:
  // At "unix:PATH", or at "127.0.0.1:0" with credentials, where address() says
  // which port it is. Ends the process where the system does not let it listen.
  explicit FakeAdminServer(const std::string& target,
                           std::shared_ptr<grpc::ServerCredentials>
                               credentials = grpc::InsecureServerCredentials());
  // Tells whoever watches or follows to go on elsewhere, and is gone.
  ~FakeAdminServer() override;

  // As the command has it.
  std::string address() const;

  // A handoff stops when everything is sent, until it is aborted or GoOn().
  void Hold();
  void GoOn();
  // A reader of the endpoint calls: what changes something is not allowed.
  void AllowReadingOnly();

  void AddEvent(const std::string& kind, const std::string& text,
                uint64_t sequence);
  // Events up to this one are gone.
  void Forget(uint64_t up_to);
  // Until so many watch. False after 30 s.
  bool AwaitWatchers(int count);

  grpc::Status GetStatus(grpc::ServerContext* context,
                         const admin::v1::GetStatusRequest* request,
                         admin::v1::GetStatusResponse* response) override;
  grpc::Status ListDescriptors(
      grpc::ServerContext* context,
      const admin::v1::ListDescriptorsRequest* request,
      grpc::ServerWriter<admin::v1::ListDescriptorsResponse>* writer) override;
  grpc::Status ListSessions(
      grpc::ServerContext* context,
      const admin::v1::ListSessionsRequest* request,
      grpc::ServerWriter<admin::v1::ListSessionsResponse>* writer) override;
  grpc::Status StartHandoff(
      grpc::ServerContext* context,
      const admin::v1::StartHandoffRequest* request,
      grpc::ServerWriter<admin::v1::StartHandoffResponse>* writer) override;
  grpc::Status AbortHandoff(grpc::ServerContext* context,
                            const admin::v1::AbortHandoffRequest* request,
                            admin::v1::AbortHandoffResponse* response) override;
  grpc::Status Drain(grpc::ServerContext* context,
                     const admin::v1::DrainRequest* request,
                     admin::v1::DrainResponse* response) override;
  grpc::Status SetAccepting(grpc::ServerContext* context,
                            const admin::v1::SetAcceptingRequest* request,
                            admin::v1::SetAcceptingResponse* response) override;
  grpc::Status Lock(grpc::ServerContext* context,
                    const admin::v1::LockRequest* request,
                    admin::v1::LockResponse* response) override;
  grpc::Status Unlock(grpc::ServerContext* context,
                      const admin::v1::UnlockRequest* request,
                      admin::v1::UnlockResponse* response) override;
  grpc::Status GetLedger(
      grpc::ServerContext* context, const admin::v1::GetLedgerRequest* request,
      grpc::ServerWriter<admin::v1::GetLedgerResponse>* writer) override;
  grpc::Status WatchEvents(
      grpc::ServerContext* context,
      const admin::v1::WatchEventsRequest* request,
      grpc::ServerWriter<admin::v1::WatchEventsResponse>* writer) override;

 private:
  grpc::Status CheckOperator() const;  // with the lock
  void SendPhase(absl::string_view phase, uint64_t sent, bool rehearsal,
                 grpc::ServerWriter<admin::v1::StartHandoffResponse>& writer);

  const std::string target_;
  int port_ = 0;
  std::mutex mu_;  // guards what follows
  std::condition_variable changed_;
  bool ended_ = false;
  bool read_only_ = false;
  bool held_ = false;
  bool under_way_ = false;
  std::string abort_reason_;
  int watchers_ = 0;
  admin::v1::GetStatusResponse status_;
  std::vector<admin::v1::Session> sessions_;
  std::vector<admin::v1::Handoff> handoffs_;
  std::vector<admin::v1::Event> events_;
  uint64_t gone_up_to_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace handoff

#endif  // HANDOFF_TOOLS_FAKE_ADMIN_SERVER_H_
