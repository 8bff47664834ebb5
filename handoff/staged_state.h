#ifndef HANDOFF_STAGED_STATE_H_
#define HANDOFF_STAGED_STATE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "google/protobuf/any.pb.h"
#include "handoff/protocol/settings.h"
#include "handoff/protocol/staged_inventory.h"
#include "handoff/session.h"

namespace handoff {

// The state of a session as its receiver gets it; reads large state out of its
// memfd. INVALID_ARGUMENT where that is no such state.
absl::StatusOr<SessionSnapshot> DecodeSession(
    const StagedInventory::Session& session, uint32_t version,
    const Limits& limits);
absl::StatusOr<google::protobuf::Any> DecodeBlob(
    const StagedInventory::Blob& blob, const Limits& limits);

// Whether the kernel's counters say that nobody has read from or written to the
// session's connections since its state was taken. False where it has none with
// counters, or a descriptor that has none and is neither a file nor a memfd: of
// a Unix socket or a pipe nobody can tell.
bool Untouched(const StagedInventory::Session& session);

}  // namespace handoff

#endif  // HANDOFF_STAGED_STATE_H_
