#include "handoff/integrations/admin/admin_service.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/integrations/admin/admin_messages.h"
#include "handoff/integrations/admin/build_id.h"
#include "handoff/integrations/admin/lists.h"
#include "handoff/integrations/admin/operator_calls.h"
#include "handoff/integrations/admin/problem.h"
#include "handoff/integrations/admin/reactors.h"

namespace handoff {
namespace {

using ::grpc::CallbackServerContext;
using ::grpc::ServerUnaryReactor;
using ::grpc::ServerWriteReactor;

constexpr size_t kReaders = 4;
constexpr size_t kReadersQueue = 256;
constexpr size_t kOperators = 4;
constexpr size_t kOperatorsQueue = 64;
constexpr size_t kDrains = 4;
constexpr size_t kFollowers = 4;
constexpr size_t kMostLists = 16;
constexpr absl::Duration kListPatience = absl::Minutes(1);

absl::Time DeadlineOf(const CallbackServerContext& context) {
  return absl::FromChrono(context.deadline());
}

}  // namespace

AdminCalls::AdminCalls(Control& control, Settings settings)
    : control_(control),
      settings_(std::move(settings)),
      build_(BuildId()),
      refusals_(control),
      watchers_(control.events()),
      readers_(kReaders, kReadersQueue),
      operators_(kOperators, kOperatorsQueue),
      drains_(kDrains, 0),
      followers_(kFollowers, 0) {}

std::shared_ptr<void> AdminCalls::ListSlot(CallbackServerContext* call) {
  std::lock_guard<std::recursive_mutex> lock(lists_mu_);
  if (lists_.size() >= kMostLists) {
    const List first = lists_.front();
    if (absl::Now() - first.begun > kListPatience) first.call->TryCancel();
    return nullptr;
  }
  const auto place = lists_.insert(lists_.end(), {call, absl::Now()});
  return std::shared_ptr<void>(call, [this, place](void*) {
    std::lock_guard<std::recursive_mutex> lock(lists_mu_);
    lists_.erase(place);
  });
}

void AdminCalls::End() {
  ended_ = true;
  watchers_.End();
}

void AdminCalls::Stop() {
  End();
  watchers_.Stop();
  followers_.Stop();
  drains_.Stop();
  operators_.Stop();
  readers_.Stop();
}

absl::StatusOr<Caller> AdminService::Operator(
    const ::grpc::ServerContextBase& context, absl::string_view call) {
  Caller caller = who_(context);
  const absl::Status may = CheckOperator(caller, call);
  if (may.ok()) return caller;
  calls_.refusals().Note(caller.name,
                         absl::StrCat(call, ": PERMISSION_DENIED"));
  return may;
}

ServerUnaryReactor* AdminService::RunForOperator(CallbackServerContext* context,
                                                 CallThreads& threads,
                                                 absl::string_view call,
                                                 OperatorCall run) {
  absl::StatusOr<Caller> caller = Operator(*context, call);
  if (!caller.ok()) {
    ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(caller.status()));
    return reactor;
  }
  return RunUnary(context, threads,
                  [caller = *std::move(caller), run = std::move(run)] {
                    return run(caller);
                  });
}

ServerUnaryReactor* AdminService::GetStatus(
    CallbackServerContext* context,
    const admin::v1::GetStatusRequest* /*request*/,
    admin::v1::GetStatusResponse* response) {
  return RunUnary(context, calls_.readers(), [this, response] {
    *response = ToAdmin(calls_.control().GetStatus(),
                        {calls_.build(), calls_.settings().executables.own,
                         calls_.control().events().last()},
                        absl::Now());
    return absl::OkStatus();
  });
}

ServerWriteReactor<admin::v1::ListDescriptorsResponse>*
AdminService::ListDescriptors(
    CallbackServerContext* context,
    const admin::v1::ListDescriptorsRequest* request) {
  using Stream = PageStream<admin::v1::ListDescriptorsResponse>;
  return Stream::Start(context, calls_.readers(), calls_.ListSlot(context),
                       [this, request = *request] {
                         return handoff::ListDescriptors(calls_.control(),
                                                         request);
                       });
}

ServerWriteReactor<admin::v1::ListSessionsResponse>* AdminService::ListSessions(
    CallbackServerContext* context,
    const admin::v1::ListSessionsRequest* request) {
  using Stream = PageStream<admin::v1::ListSessionsResponse>;
  if (request->state()) {
    absl::Status may = Operator(*context, "ListSessions with state").status();
    if (may.ok() && !calls_.settings().allow_state) {
      may = Problem(absl::StatusCode::kPermissionDenied, "STATE_NOT_SHOWN",
                    "this process shows no state",
                    "ask for state_size, or have it configured to show state");
    }
    if (!may.ok()) {
      return new RefusedStream<admin::v1::ListSessionsResponse>(may);
    }
  }
  return Stream::Start(
      context, calls_.readers(), calls_.ListSlot(context),
      [this, request = *request, deadline = DeadlineOf(*context)] {
        return handoff::ListSessions(calls_.control(), request, deadline);
      });
}

ServerWriteReactor<admin::v1::StartHandoffResponse>* AdminService::StartHandoff(
    CallbackServerContext* context,
    const admin::v1::StartHandoffRequest* request) {
  using Stream = BlockingStream<admin::v1::StartHandoffResponse>;
  absl::StatusOr<Caller> caller = Operator(*context, "StartHandoff");
  if (!caller.ok()) {
    return new RefusedStream<admin::v1::StartHandoffResponse>(caller.status());
  }
  return Stream::Start(
      context, calls_.followers(),
      [this, request = *request, caller = *std::move(caller),
       deadline = DeadlineOf(*context)](Stream& stream) {
        return handoff::StartHandoff(
            calls_.control(), caller, calls_.settings().executables, request,
            deadline,
            {[&stream](const admin::v1::StartHandoffResponse& response) {
               return stream.Write(response);
             },
             [this, &stream] {
               return stream.cancelled() ? CallerHasLeft()
                      : calls_.ended()   ? EndpointDrains()
                                         : absl::OkStatus();
             }});
      });
}

ServerUnaryReactor* AdminService::AbortHandoff(
    CallbackServerContext* context,
    const admin::v1::AbortHandoffRequest* request,
    admin::v1::AbortHandoffResponse* /*response*/) {
  return RunForOperator(
      context, calls_.operators(), "AbortHandoff",
      [this, request, deadline = DeadlineOf(*context)](const Caller& caller) {
        return handoff::AbortHandoff(calls_.control(), caller, *request,
                                     deadline);
      });
}

ServerUnaryReactor* AdminService::Drain(CallbackServerContext* context,
                                        const admin::v1::DrainRequest* request,
                                        admin::v1::DrainResponse* response) {
  return RunForOperator(context, calls_.drains(), "Drain",
                        [this, request, response](const Caller& caller) {
                          return handoff::Drain(calls_.control(), caller,
                                                calls_.settings().own_type,
                                                *request, *response);
                        });
}

ServerUnaryReactor* AdminService::SetAccepting(
    CallbackServerContext* context,
    const admin::v1::SetAcceptingRequest* request,
    admin::v1::SetAcceptingResponse* /*response*/) {
  return RunForOperator(context, calls_.operators(), "SetAccepting",
                        [this, request](const Caller& caller) {
                          return handoff::SetAccepting(calls_.control(), caller,
                                                       *request);
                        });
}

ServerUnaryReactor* AdminService::Lock(CallbackServerContext* context,
                                       const admin::v1::LockRequest* request,
                                       admin::v1::LockResponse* response) {
  return RunForOperator(context, calls_.operators(), "Lock",
                        [this, request, response](const Caller& caller) {
                          return handoff::Lock(calls_.control(), caller,
                                               *request, *response);
                        });
}

ServerUnaryReactor* AdminService::Unlock(
    CallbackServerContext* context, const admin::v1::UnlockRequest* /*request*/,
    admin::v1::UnlockResponse* /*response*/) {
  return RunForOperator(context, calls_.operators(), "Unlock",
                        [this](const Caller& caller) {
                          return handoff::Unlock(calls_.control(), caller);
                        });
}

ServerWriteReactor<admin::v1::GetLedgerResponse>* AdminService::GetLedger(
    CallbackServerContext* context,
    const admin::v1::GetLedgerRequest* request) {
  using Stream = PageStream<admin::v1::GetLedgerResponse>;
  return Stream::Start(context, calls_.readers(), calls_.ListSlot(context),
                       [this, request = *request] {
                         return ListLedger(calls_.control(), request);
                       });
}

ServerUnaryReactor* AdminService::ListHandoffs(
    CallbackServerContext* context,
    const admin::v1::ListHandoffsRequest* request,
    admin::v1::ListHandoffsResponse* response) {
  return RunUnary(context, calls_.readers(), [this, request, response] {
    *response = handoff::ListHandoffs(calls_.control(), *request);
    return absl::OkStatus();
  });
}

ServerWriteReactor<admin::v1::WatchEventsResponse>* AdminService::WatchEvents(
    CallbackServerContext* /*context*/,
    const admin::v1::WatchEventsRequest* request) {
  return calls_.watchers().Watch(*request);
}

}  // namespace handoff
