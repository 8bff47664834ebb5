#ifndef HANDOFF_INTEGRATIONS_ADMIN_LISTS_H_
#define HANDOFF_INTEGRATIONS_ADMIN_LISTS_H_

#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "handoff/control.h"
#include "proto/admin.pb.h"

// What a call answers with in several messages. The inventory or the ledger is
// taken once, when the first is asked for; each message is then made when the
// caller can take it. State is read page by page.

namespace handoff {

// The next message; false: there was none left.
template <typename Response>
using NextMessage = std::function<absl::StatusOr<bool>(Response*)>;

// Most of a page and of one session's state, in bytes: gRPC's clients take
// messages of 4 MiB unless they are told otherwise.
inline constexpr size_t kMaxPageBytes = 1024 * 1024;
inline constexpr size_t kMaxShownState = 1024 * 1024;
inline constexpr uint32_t kDefaultPage = 500;
inline constexpr uint32_t kMostInPage = 5'000;

// INVALID_ARGUMENT for a page size or a filter that makes no sense.
absl::StatusOr<NextMessage<admin::v1::ListDescriptorsResponse>> ListDescriptors(
    const Control& control, const admin::v1::ListDescriptorsRequest& request);

// Whether state may be shown is the caller's to check. Also UNAVAILABLE and
// DEADLINE_EXCEEDED, from reading state.
absl::StatusOr<NextMessage<admin::v1::ListSessionsResponse>> ListSessions(
    Control& control, const admin::v1::ListSessionsRequest& request,
    absl::Time deadline);

// Also NOT_FOUND where the ledger has no such handoff.
absl::StatusOr<NextMessage<admin::v1::GetLedgerResponse>> ListLedger(
    const Control& control, const admin::v1::GetLedgerRequest& request);

admin::v1::ListHandoffsResponse ListHandoffs(
    const Control& control, const admin::v1::ListHandoffsRequest& request);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_LISTS_H_
