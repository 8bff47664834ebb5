#include "handoff/integrations/admin/problem.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "proto/admin.pb.h"

namespace handoff {
namespace {

constexpr char kPayload[] = "type.googleapis.com/handoff.admin.v1.Problem";

struct Known {
  absl::StatusCode code;
  absl::string_view reason;
  absl::string_view remedy;
};

// Codes say what the caller's next step is, so each has one remedy.
constexpr Known kKnown[] = {
    {absl::StatusCode::kFailedPrecondition, "STATE",
     "GetStatus shows the state: change it or wait, then call again"},
    {absl::StatusCode::kAborted, "ABORTED",
     "GetLedger and WatchEvents have the reason; mend that, then call again"},
    {absl::StatusCode::kUnavailable, "UNAVAILABLE", "call again in a moment"},
    {absl::StatusCode::kResourceExhausted, "LIMIT",
     "GetStatus shows limits and headroom: raise the limit or ask for less"},
    {absl::StatusCode::kPermissionDenied, "SYSTEM_PERMISSION",
     "the process may not do this: see its user and its rights to the file"},
    {absl::StatusCode::kDeadlineExceeded, "DEADLINE",
     "call again with a later deadline"},
    {absl::StatusCode::kNotFound, "NOT_FOUND", "check the name or the path"},
    {absl::StatusCode::kInvalidArgument, "ARGUMENT",
     "correct the argument, then call again"},
    {absl::StatusCode::kUnimplemented, "UNIMPLEMENTED",
     "this service cannot; do without"},
};

}  // namespace

absl::Status Problem(absl::StatusCode code, absl::string_view reason,
                     absl::string_view wrong, absl::string_view remedy) {
  absl::Status status(code, absl::StrCat(wrong, "; ", remedy));
  admin::v1::Problem problem;
  problem.set_reason(std::string(reason));
  problem.set_remedy(std::string(remedy));
  status.SetPayload(kPayload, absl::Cord(problem.SerializeAsString()));
  return status;
}

absl::Status WithRemedy(const absl::Status& status, absl::string_view what) {
  if (status.ok() || status.GetPayload(kPayload).has_value()) return status;
  const std::string wrong = absl::StrCat(what, ": ", status.message());
  for (const Known& known : kKnown) {
    if (known.code == status.code()) {
      return Problem(status.code(), known.reason, wrong, known.remedy);
    }
  }
  return Problem(status.code(), "INTERNAL", wrong,
                 "see the log of the process");
}

::grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return ::grpc::Status::OK;
  admin::v1::ErrorStatus error;
  // The numbers are the same, by absl/status/status.h.
  error.set_code(static_cast<int>(status.code()));
  error.set_message(std::string(status.message()));
  const absl::optional<absl::Cord> problem = status.GetPayload(kPayload);
  if (problem.has_value()) {
    google::protobuf::Any* detail = error.add_details();
    detail->set_type_url(kPayload);
    detail->set_value(std::string(*problem));
  }
  return ::grpc::Status(static_cast<::grpc::StatusCode>(status.code()),
                        error.message(), error.SerializeAsString());
}

}  // namespace handoff
