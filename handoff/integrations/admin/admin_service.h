#ifndef HANDOFF_INTEGRATIONS_ADMIN_ADMIN_SERVICE_H_
#define HANDOFF_INTEGRATIONS_ADMIN_ADMIN_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/control.h"
#include "handoff/integrations/admin/call_threads.h"
#include "handoff/integrations/admin/caller.h"
#include "handoff/integrations/admin/refusals.h"
#include "handoff/integrations/admin/start_handoff.h"
#include "handoff/integrations/admin/watchers.h"
#include "proto/admin.grpc.pb.h"

namespace handoff {

// What all servers of an endpoint have in common. Thread-safe.
class AdminCalls {
 public:
  struct Settings {
    Executables executables;
    bool allow_state = false;
    std::string own_type;
  };

  AdminCalls(Control& control, Settings settings);

  Control& control() { return control_; }
  const Settings& settings() const { return settings_; }
  const std::string& build() const { return build_; }
  // Each kind has threads of its own: a drain may take an hour, and whoever
  // wants to know the state or to abort does not wait for it.
  CallThreads& readers() { return readers_; }
  CallThreads& operators() { return operators_; }
  CallThreads& drains() { return drains_; }
  CallThreads& followers() { return followers_; }
  Watchers& watchers() { return watchers_; }
  Refusals& refusals() { return refusals_; }
  // For a list that is being sent, which holds what it sends, until its call is
  // done. Null where there are too many; if the first of them has had a minute,
  // it is cancelled, so that there is a place in a moment.
  std::shared_ptr<void> ListSlot(::grpc::CallbackServerContext* call);

  // Before Ready().
  absl::Status MakeThread() { return watchers_.MakeThread(); }
  // From Ready() on, before the first call.
  void Start() { watchers_.Start(); }
  // Streams end; whoever follows a handoff gives up.
  void End();
  bool ended() const { return ended_; }
  // After the servers have been shut down.
  void Stop();

 private:
  Control& control_;
  const Settings settings_;
  const std::string build_;
  std::atomic<bool> ended_{false};
  struct List {
    ::grpc::CallbackServerContext* call;
    absl::Time begun;
  };
  // A call that is cancelled may end at once, on the thread that cancels it.
  std::recursive_mutex lists_mu_;
  std::list<List> lists_;
  Refusals refusals_;
  Watchers watchers_;
  CallThreads readers_;
  CallThreads operators_;
  CallThreads drains_;
  CallThreads followers_;
};

// handoff.admin.v1.Admin for those whom `who` names, from the context of a
// call.
class AdminService final : public admin::v1::Admin::CallbackService {
 public:
  using Who = std::function<Caller(const ::grpc::ServerContextBase&)>;

  // Borrowed.
  AdminService(AdminCalls& calls, Who who)
      : calls_(calls), who_(std::move(who)) {}

  ::grpc::ServerUnaryReactor* GetStatus(
      ::grpc::CallbackServerContext* context,
      const admin::v1::GetStatusRequest* request,
      admin::v1::GetStatusResponse* response) override;
  ::grpc::ServerWriteReactor<admin::v1::ListDescriptorsResponse>*
  ListDescriptors(::grpc::CallbackServerContext* context,
                  const admin::v1::ListDescriptorsRequest* request) override;
  ::grpc::ServerWriteReactor<admin::v1::ListSessionsResponse>* ListSessions(
      ::grpc::CallbackServerContext* context,
      const admin::v1::ListSessionsRequest* request) override;
  ::grpc::ServerWriteReactor<admin::v1::StartHandoffResponse>* StartHandoff(
      ::grpc::CallbackServerContext* context,
      const admin::v1::StartHandoffRequest* request) override;
  ::grpc::ServerUnaryReactor* AbortHandoff(
      ::grpc::CallbackServerContext* context,
      const admin::v1::AbortHandoffRequest* request,
      admin::v1::AbortHandoffResponse* response) override;
  ::grpc::ServerUnaryReactor* Drain(
      ::grpc::CallbackServerContext* context,
      const admin::v1::DrainRequest* request,
      admin::v1::DrainResponse* response) override;
  ::grpc::ServerUnaryReactor* SetAccepting(
      ::grpc::CallbackServerContext* context,
      const admin::v1::SetAcceptingRequest* request,
      admin::v1::SetAcceptingResponse* response) override;
  ::grpc::ServerUnaryReactor* Lock(::grpc::CallbackServerContext* context,
                                   const admin::v1::LockRequest* request,
                                   admin::v1::LockResponse* response) override;
  ::grpc::ServerUnaryReactor* Unlock(
      ::grpc::CallbackServerContext* context,
      const admin::v1::UnlockRequest* request,
      admin::v1::UnlockResponse* response) override;
  ::grpc::ServerWriteReactor<admin::v1::GetLedgerResponse>* GetLedger(
      ::grpc::CallbackServerContext* context,
      const admin::v1::GetLedgerRequest* request) override;
  ::grpc::ServerUnaryReactor* ListHandoffs(
      ::grpc::CallbackServerContext* context,
      const admin::v1::ListHandoffsRequest* request,
      admin::v1::ListHandoffsResponse* response) override;
  ::grpc::ServerWriteReactor<admin::v1::WatchEventsResponse>* WatchEvents(
      ::grpc::CallbackServerContext* context,
      const admin::v1::WatchEventsRequest* request) override;

 private:
  using OperatorCall = std::function<absl::Status(const Caller& caller)>;

  // Whoever calls, if it is an operator. Here, on gRPC's thread: others take no
  // place in a queue.
  absl::StatusOr<Caller> Operator(const ::grpc::ServerContextBase& context,
                                  absl::string_view call);
  ::grpc::ServerUnaryReactor* RunForOperator(
      ::grpc::CallbackServerContext* context, CallThreads& threads,
      absl::string_view call, OperatorCall run);

  AdminCalls& calls_;
  const Who who_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_ADMIN_SERVICE_H_
