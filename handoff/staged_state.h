#ifndef HANDOFF_STAGED_STATE_H_
#define HANDOFF_STAGED_STATE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "google/protobuf/any.pb.h"
#include "handoff/fd/memfd.h"
#include "handoff/protocol/settings.h"
#include "handoff/protocol/staged_inventory.h"
#include "handoff/session.h"

namespace handoff {

// Makes of what has arrived what a receiver gets. Keeps the memfd mapped that
// it read from last: sessions come with others that share it. Not thread-safe.
class StateReader {
 public:
  // `limits` are borrowed.
  explicit StateReader(const Limits& limits) : limits_(limits) {}

  // Takes the state out of `arrival`. INVALID_ARGUMENT where its memfd holds no
  // such state, RESOURCE_EXHAUSTED where that is too large.
  absl::StatusOr<SessionSnapshot> Read(StagedInventory::Arrival& arrival,
                                       uint32_t version);
  // Lets go of the memfd.
  void Close();

 private:
  absl::StatusOr<v1::SessionState> ReadLarge(
      const StagedInventory::Arrival& arrival);

  const Limits& limits_;
  SharedFd memfd_;
  absl::optional<SealedMapping> mapping_;
};

absl::StatusOr<google::protobuf::Any> DecodeBlob(
    const StagedInventory::Blob& blob, const Limits& limits);

// Whether nobody has read from or written to the session's connections since
// its state was taken: it was frozen then, or the kernel's counters say so. To
// be asked once the word is decided. False where it has no connection with
// counters, or a descriptor that has none and is neither a file nor a memfd: of
// a Unix socket or a pipe nobody can tell.
bool Untouched(const StagedInventory::Session& session);

}  // namespace handoff

#endif  // HANDOFF_STAGED_STATE_H_
