#ifndef HANDOFF_QUERY_H_
#define HANDOFF_QUERY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/fd/peer_identity.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Asks the process that serves at the handoff socket `path`, and returns its
// replies put together. Checks who answers, as a successor does.
//
// NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED   nobody answers
// PERMISSION_DENIED, UNAUTHENTICATED          not allowed, by either side
// INVALID_ARGUMENT                            the path, or the reply
absl::StatusOr<v1::QueryReply> Ask(absl::string_view path,
                                   v1::Query::Kind kind,
                                   absl::Duration timeout = absl::Seconds(5),
                                   const TrustPolicy& trust = {});

// For people; ends with a newline.
std::string FormatStatus(const v1::Status& status);
std::string FormatInventory(const v1::QueryReply& reply);
std::string FormatLedger(const v1::QueryReply& reply);

}  // namespace handoff

#endif  // HANDOFF_QUERY_H_
