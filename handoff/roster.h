#ifndef HANDOFF_ROSTER_H_
#define HANDOFF_ROSTER_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/group.h"
#include "handoff/protocol/settings.h"
#include "handoff/protocol/staged_inventory.h"
#include "handoff/session.h"
#include "proto/handoff.pb.h"

namespace handoff {

// What of one group's sessions has to be sent.
struct GroupSnapshot {
  struct Item {
    // Whole, however large; sent_in counts from 1 within `descriptors`.
    v1::SessionRecord record;
    std::vector<SharedFd> descriptors;
    std::vector<v1::DescriptorInfo> infos;  // of each
  };
  std::vector<Item> items;
  std::vector<v1::KeptSession> kept;
  absl::Status status;
};

// All sessions of a process, and what a handoff has sent of them.
//
// Thread-safe; what is marked "loop" must be called on the thread of the
// session's group, as a session's own calls must. A session's descriptors are
// written by its loop under the lock: so the loop may read them without, and
// others with it.
class Roster {
 public:
  // Ids of new sessions begin here: unique over 2^24 generations, and exact in
  // JSON for the first 8,192. Before the first Open().
  void SetGeneration(uint64_t generation) { next_id_ = (generation << 40) + 1; }

  // A new session. [loop]
  std::shared_ptr<Session> Open(int group, absl::string_view type,
                                std::vector<NamedFd> descriptors);
  // A session that was received, or one that was received again, and how many
  // handoffs it has lived through. Before the groups run, or taken back.
  std::shared_ptr<Session> Receive(const StagedInventory::Arrival& arrival,
                                   uint32_t handoffs);
  void Adopt(Session& session, int group);
  int GroupOf(const Session& session) const;  // -1: none
  // Drops a session that was received, without a word to its client.
  void Forget(Session& session);

  // How Session's calls arrive. [loop]
  enum class End { kClose, kReset };
  void EndSession(Session& session, End end);
  void NoteChanged(Session& session);
  void Keep(Session& session, absl::string_view reason);
  absl::Status AddDescriptor(Session& session, absl::string_view name,
                             UniqueFd fd);
  absl::Status CloseDescriptor(Session& session, absl::string_view name);

  // For tools and counts. `details`: what there is beside what a descriptor is.
  std::vector<v1::InventoryItem> Inventory(bool details = false) const;
  size_t size() const;
  size_t descriptor_count() const;
  // Called, on any thread, when a session ends.
  void SetOnEnd(std::function<void()> on_end);

  // For operators, beside a handoff: roster_operator.cc.
  // Those of `ids` that are there, or all, by group.
  std::map<int, std::vector<std::shared_ptr<Session>>> Find(
      absl::Span<const uint64_t> ids, bool all) const;
  static bool Ended(const Session& session) { return session.ended_; }  // [loop]
  // What Snapshot writes of it now; leaves no trace in a handoff that is under
  // way. FAILED_PRECONDITION where it is kept. [loop]
  absl::StatusOr<SessionSnapshot> Peek(Group& group, Session& session,
                                       uint32_t version) const;
  // Until all have ended or moved, EndWaits(), or the deadline. Takes those that
  // have out of `sessions`; returns how many have ended. Not on a loop.
  size_t WaitForEnd(std::vector<std::shared_ptr<Session>>& sessions,
                    absl::Time deadline) const;
  // The process ends: nobody waits any more.
  void EndWaits();
  bool waits_over() const;

  // Forgets what an earlier handoff has sent. `versions`: of each type's state.
  // Returns the number by which its rounds are known: what a loop still does for
  // an earlier handoff, or one that is over, has no effect.
  uint64_t BeginHandoff(std::map<std::string, uint32_t> versions);
  // The same for a store, which is sent to until the next BeginHandoff(): with
  // all descriptors of a session each time, and without end.
  uint64_t BeginStoring(std::map<std::string, uint32_t> versions);
  // Whether a tracked session has changed, or one that was sent has ended.
  bool AnyChanged() const;
  // What the successor does not take stays here, in this handoff: the next one
  // may be to another binary. Before the round that tells it so.
  void RefuseType(const std::string& type);
  void RefuseSession(uint64_t id, const std::string& reason);
  // All sessions of a group, and from here on note those that change. [loop]
  std::vector<std::shared_ptr<Session>> TrackGroup(int group,
                                                   uint64_t handoff);
  // Those of a tracked group that changed since their last Snapshot. [loop]
  std::vector<std::shared_ptr<Session>> TakeChanged(int group,
                                                    uint64_t handoff);
  // Ends what BeginHandoff() began.
  void EndTracking();
  // Appends what has to be sent of `session` to `out`. The first time in a
  // handoff that is everything. `frozen`: nobody touches the session until the
  // handoff is decided. [loop]
  void Snapshot(Group& group, Session& session, uint64_t handoff, bool frozen,
                GroupSnapshot& out);
  // Sessions that ended after they had been sent, since the last call.
  std::vector<uint64_t> TakeClosed();

  // After the commit: the sessions that moved, by group.
  std::map<int, std::vector<std::shared_ptr<Session>>> Moved() const;
  // Closes our copies of them. [loop]
  void Release(const std::vector<std::shared_ptr<Session>>& moved);
  // What the handoff did with each session, and nothing else.
  v1::LedgerHandoff Outcomes() const;
  // Of the sessions that it left here: who has ended, and who has not. Without
  // the handoff's id.
  v1::DrainedSessions Kept() const;

  // After a crash of the successor: of the sessions that moved from groups that
  // take back, those that nobody touched are sessions again, by group. The
  // copies of the others are closed. Not on a loop.
  struct Returned {
    std::shared_ptr<Session> session;
    SessionSnapshot snapshot;
  };
  std::map<int, std::vector<Returned>> TakeBack(const Limits& limits);
  // Closes all copies: nothing is going to be taken back.
  void DropCopies();

 private:
  struct NewSession;  // a Session, for std::make_shared

  // Keeps what was sent of a session of a group that takes back.
  void Copied(const Session& session, const GroupSnapshot::Item& item,
              uint64_t handoff);

  mutable std::mutex mu_;
  mutable std::condition_variable gone_;  // some of `sessions_`
  bool waits_over_ = false;
  absl::flat_hash_map<uint64_t, std::shared_ptr<Session>> sessions_;
  // By tracked group.
  std::map<int, std::vector<std::shared_ptr<Session>>> changed_;
  std::atomic<uint64_t> next_id_{1};  // not guarded
  std::function<void()> on_end_;

  uint64_t handoff_ = 0;  // the number of the one that is under way
  bool storing_ = false;
  std::map<std::string, uint32_t> versions_;
  std::set<std::string> refused_types_;
  std::unordered_map<uint64_t, std::string> refused_;  // reasons
  absl::flat_hash_set<uint64_t> sent_;
  std::unordered_map<uint64_t, v1::KeptSession> kept_;
  std::vector<uint64_t> closed_;  // not yet told
  std::vector<v1::LedgerEntry> ended_;
  // Of what was sent from groups that take back, as it was sent last.
  struct Copy {
    int group = -1;
    StagedInventory::Session staged;
  };
  std::unordered_map<uint64_t, Copy> copies_;
};

}  // namespace handoff

#endif  // HANDOFF_ROSTER_H_
