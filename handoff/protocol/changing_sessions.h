#ifndef HANDOFF_PROTOCOL_CHANGING_SESSIONS_H_
#define HANDOFF_PROTOCOL_CHANGING_SESSIONS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/frame.h"
#include "handoff/protocol/staged_inventory.h"
#include "proto/handoff.pb.h"

namespace handoff {

// For tests: the sessions of a service that runs while it is handed over. They
// change, open and close as Live() is called; some cannot move; the state of
// some versions travels as a descriptor. Remembers what was sent, so that it
// can say afterwards whether everything has arrived.
class ChangingSessions {
 public:
  ChangingSessions();

  // One thing happens: a session changes, and now and then one opens or ends.
  void Live();

  // Who is there now, for a round of snapshots.
  std::deque<uint64_t> Ids() const;
  // Adds session `id` as it is now, unless it is gone or has not changed.
  void AddTo(OutgoingFrame& batch, uint64_t id, const v1::Ready& ready);
  // Adds those that were sent and have ended since.
  void AddClosedTo(OutgoingFrame& batch);
  // Closes everything.
  void Release() { sessions_.clear(); }

  // How `inventory` differs from the sessions as they are now; empty where it
  // holds exactly those that can move, each in its last version and with its
  // own descriptor, and accounts once for every session that was ever sent.
  std::string Difference(StagedInventory& inventory) const;

 private:
  struct Session {
    uint64_t version = 1;
    uint64_t sent_version = 0;
    SharedFd fd;
  };
  void Open();

  std::map<uint64_t, Session> sessions_;
  std::set<uint64_t> kept_;
  std::set<uint64_t> ever_sent_;
  std::vector<uint64_t> closed_;  // since AddClosedTo()
  uint64_t next_id_ = 1;
  uint64_t lived_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_CHANGING_SESSIONS_H_
