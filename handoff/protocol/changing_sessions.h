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
//
// A session's clients send it 1, 2, 3, ...; its version is the last number that
// it has read, its input the last few of them. The kernel's count of what was
// read belongs to both processes, so that whoever reads out of turn is found
// out.
class ChangingSessions {
 public:
  explicit ChangingSessions(uint64_t sessions_at_first = 6);

  // One thing happens at the predecessor: a session changes, and now and then
  // one opens or ends.
  void Live();
  // One session changes at the successor.
  void LiveAtSuccessor();

  // Who is there now, for a round of snapshots.
  std::deque<uint64_t> Ids() const;
  // Adds session `id` as it is now, unless it is gone or has not changed.
  // `frozen`: Live() is not called before the outcome.
  void AddTo(OutgoingFrame& batch, uint64_t id, const v1::Ready& ready,
             bool frozen);
  // Adds those that were sent and have ended since.
  void AddClosedTo(OutgoingFrame& batch);
  // Closes everything.
  void Release() { sessions_.clear(); }

  // How `inventory` differs from the sessions as they are now; empty where it
  // holds exactly those that can move, each in its last version and with its
  // own descriptor, and accounts once for every session that was ever sent.
  std::string Difference(StagedInventory& inventory) const;

  // The successor goes on with what `inventory` has: with everything, or with
  // the sessions that nobody has touched since they were sent.
  void TakeAll(StagedInventory& inventory);
  void TakeUntouched(StagedInventory& inventory);

  // Which session was read out of turn, or adopted in another state than it was
  // left in; empty where none was.
  const std::string& fault() const { return fault_; }

 private:
  struct Session {
    uint64_t version = 1;
    uint64_t sent_version = 0;
    SharedFd fd;
  };
  void Open();
  void Read(uint64_t id, uint64_t& version);

  const uint64_t sessions_ever_;
  std::map<uint64_t, Session> sessions_;
  std::map<uint64_t, uint64_t> taken_;  // versions at the successor
  std::map<uint64_t, uint64_t> read_;   // by the kernel's count
  std::string fault_;
  std::set<uint64_t> kept_;
  std::set<uint64_t> ever_sent_;
  std::vector<uint64_t> closed_;  // since AddClosedTo()
  uint64_t next_id_ = 1;
  uint64_t lived_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_CHANGING_SESSIONS_H_
