#ifndef HANDOFF_STORING_H_
#define HANDOFF_STORING_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/belongings.h"
#include "handoff/group_set.h"
#include "handoff/ledger.h"
#include "handoff/options.h"
#include "handoff/reporter.h"
#include "handoff/roster.h"
#include "handoff/store_log.h"
#include "handoff/store_shelf.h"

namespace handoff {

// Keeps what a process has in its descriptor store, while no handoff is under
// way: the descriptors under their names, and what they are of in a log. Each
// run begins a log of its own; the one before counts until that is complete.
// Lives on the library's thread and never blocks it.
class Storing {
 public:
  // State of one session or blob that is larger is not stored.
  static constexpr uint64_t kMaxStateBytes = 1 << 20;

  // All borrowed, and outlive it.
  struct Process {
    const Options* options;
    const Belongings* belongings;
    Roster* roster;
    GroupSet* groups;
    LedgerBook* ledger;
    const Reporter* report;
  };

  // `holds`: what the store has from before. `attempts`: as a log's.
  Storing(const Process& process, const v1::StoreContents& holds,
          uint32_t attempts);

  // `generation`: the highest that was given out so far.
  void Begin(uint64_t generation, absl::Time now);
  // A handoff is under way: the groups are its, and the log stays as it is.
  void Suspend(uint64_t generation);
  bool running() const { return running_; }

  void Step(absl::Time now);
  absl::Time NextWake() const;

  v1::StoreContents Contents() const;
  // Nothing is to come back: the successor does not store.
  void ForgetAll();
  // The same, and waits for the store, for a second at most: the process ends.
  void End();

 private:
  void StoreNamed();
  void StoreBlobs();
  void StoreSession(GroupSnapshot::Item& item);
  void Leave(uint64_t id);
  void LeaveOut(uint64_t id, absl::string_view why);
  // The first round is complete: what is not there any more is forgotten.
  void EndFirstRound();
  void Commit();
  void UseLog(std::unique_ptr<StoreLog> log);
  void Note(absl::string_view text) const;

  const Process process_;
  StoreShelf shelf_;
  uint32_t attempts_;
  bool running_ = false;
  bool first_ = false;  // the first round is under way
  std::unique_ptr<StoreLog> log_;
  std::string log_name_;  // in the store; empty: none of this run
  std::map<std::string, uint32_t> versions_;
  std::unordered_set<uint64_t> known_;        // sessions that are stored
  std::map<std::string, std::string> blobs_;  // as they were stored last
  // Why sessions are not stored, as far as this run has said so.
  std::set<std::string> said_;
  absl::Time moved_at_ = absl::InfiniteFuture();  // the store takes things
  absl::Time next_round_ = absl::InfiniteFuture();
  absl::Time proven_at_ = absl::InfiniteFuture();
};

}  // namespace handoff

#endif  // HANDOFF_STORING_H_
