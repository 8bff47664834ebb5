#ifndef HANDOFF_INTEGRATIONS_ADMIN_OPERATOR_CALLS_H_
#define HANDOFF_INTEGRATIONS_ADMIN_OPERATOR_CALLS_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/control.h"
#include "handoff/integrations/admin/caller.h"
#include "proto/admin.pb.h"

// The calls that change something, for whom CheckOperator() lets. Each becomes
// an audit event: who, what, with which arguments, and how it ended.

namespace handoff {

// `arguments` are short and hold no secrets; what a caller wrote is escaped.
absl::Status Audited(Control& control, const Caller& caller,
                     absl::string_view call, absl::string_view arguments,
                     const std::function<absl::Status()>& run);

// PERMISSION_DENIED, saying what is needed.
absl::Status CheckOperator(const Caller& caller, absl::string_view call);

// `text` of a caller, for one line, cut to a sensible length.
std::string Quoted(absl::string_view text);

absl::Status AbortHandoff(Control& control, const Caller& caller,
                          const admin::v1::AbortHandoffRequest& request,
                          absl::Time deadline);

// `own_type`: sessions of the endpoint itself, which are not drained: the call
// would wait for its own connection.
absl::Status Drain(Control& control, const Caller& caller,
                   absl::string_view own_type,
                   const admin::v1::DrainRequest& request,
                   admin::v1::DrainResponse& response);

absl::Status SetAccepting(Control& control, const Caller& caller,
                          const admin::v1::SetAcceptingRequest& request);

absl::Status Lock(Control& control, const Caller& caller,
                  const admin::v1::LockRequest& request,
                  admin::v1::LockResponse& response);

absl::Status Unlock(Control& control, const Caller& caller);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_OPERATOR_CALLS_H_
