#ifndef HANDOFF_INTEGRATIONS_ADMIN_PROBLEM_H_
#define HANDOFF_INTEGRATIONS_ADMIN_PROBLEM_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace handoff {

// An error with what a caller can do about it. The message says both.
absl::Status Problem(absl::StatusCode code, absl::string_view reason,
                     absl::string_view wrong, absl::string_view remedy);

// An error of the library as one with a remedy; `what` is the call that failed.
// OK, and what has a remedy already, stay what they are.
absl::Status WithRemedy(const absl::Status& status, absl::string_view what);

// As gRPC sends it: an ErrorStatus in grpc-status-details-bin.
::grpc::Status ToGrpc(const absl::Status& status);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_PROBLEM_H_
