#ifndef HANDOFF_TOOLS_ADMIN_CLIENT_H_
#define HANDOFF_TOOLS_ADMIN_CLIENT_H_

#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/admin.grpc.pb.h"
#include "tools/admin_address.h"

namespace handoff {

using AdminStub = admin::v1::Admin::Stub;

// A connection of its own: what listens at the address now has it, and no other
// stub's calls go over it. Once it is lost, calls are UNAVAILABLE.
// UNAVAILABLE, PERMISSION_DENIED or INVALID_ARGUMENT where there is none, in
// words for people with what to do; with TCP that shows at the first call.
absl::StatusOr<std::unique_ptr<AdminStub>> ConnectToAdmin(
    const AdminAddress& address);

// An infinite timeout sets none.
void SetTimeout(grpc::ClientContext& context, absl::Duration timeout);

// The message says what to do: the service's own, or ours where it has none.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_ADMIN_CLIENT_H_
