#ifndef HANDOFF_MOVED_SESSIONS_H_
#define HANDOFF_MOVED_SESSIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Of nearly every session a ledger has to say only that it moved, and a handoff
// may move a great many: as entries they would be most of what a handoff sends
// and reads before anything else. So those are held and handed over as runs of
// ids (v1::MovedSessions), and become entries for whoever reads the ledger.

// Sessions that moved, as they are met. Not thread-safe.
class MovedIds {
 public:
  MovedIds() = default;
  MovedIds(const MovedIds&) = delete;
  MovedIds& operator=(const MovedIds&) = delete;

  // In any order; the same one again changes nothing.
  void Add(absl::string_view type, uint64_t session);
  // Appends them to `handoff`; there are none here afterwards.
  void MoveTo(v1::LedgerHandoff& handoff);

 private:
  using ByType = std::map<std::string, std::vector<uint64_t>, std::less<>>;
  ByType ids_;
  ByType::iterator last_ = ids_.end();  // mostly the next one's too
};

// How many sessions that is; nothing where the runs make no sense, as a peer's
// may. Allocates nothing, however many they claim to be.
absl::optional<uint64_t> CountMoved(const v1::MovedSessions& moved);

// Leaves the `most` with the lowest ids.
void KeepFirst(v1::MovedSessions& moved, uint64_t most);

// Makes an entry of each, behind those that there are. So they must be few
// enough for that.
void ExpandMoved(v1::LedgerHandoff& handoff);

}  // namespace handoff

#endif  // HANDOFF_MOVED_SESSIONS_H_
