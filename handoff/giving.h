#ifndef HANDOFF_GIVING_H_
#define HANDOFF_GIVING_H_

#include <poll.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "handoff/batch_builder.h"
#include "handoff/belongings.h"
#include "handoff/event_log.h"
#include "handoff/group_set.h"
#include "handoff/handoff.h"
#include "handoff/ledger.h"
#include "handoff/link.h"
#include "handoff/phase_clock.h"
#include "handoff/protocol/predecessor_machine.h"
#include "handoff/reporter.h"
#include "handoff/roster.h"
#include "handoff/shared_outcome.h"
#include "proto/store.pb.h"

namespace handoff {

// One handoff of this process to a successor: carries out what the machine
// commands, with the groups, and records what came of it. Lives on the
// library's thread and never blocks it.
class Giving {
 public:
  // All borrowed, and outlive it.
  struct Process {
    const Options* options;
    const Belongings* belongings;
    Roster* roster;
    GroupSet* groups;
    LedgerBook* ledger;
    EventLog* events;
    const Reporter* report;
    // The highest that was given out so far: a successor that crashed had one.
    uint64_t generation;
    uint64_t own_generation;
    // What this process has in its store; none where it has no store.
    absl::optional<v1::StoreContents> stored = {};
  };

  // `hello` came on `channel`, whose peer is trusted. The answer is ready then,
  // but nothing is sent before Step(). Takes the channel over only where it
  // succeeds.
  static absl::StatusOr<std::unique_ptr<Giving>> Create(const Process& process,
                                                        Channel& channel,
                                                        const v1::Frame& hello,
                                                        absl::Time now);
  ~Giving();

  // Does everything that can be done now.
  void Step(absl::Time now);
  void AddTo(std::vector<pollfd>& polled) const { link_.AddTo(polled); }
  absl::Time NextWake(absl::Time now) const;

  // Aborts, unless it is decided.
  void Abort(const std::string& why, absl::Time now);

  // There is nothing left to do: it was refused, aborted and the successor has
  // gone; or committed and the watch is over; or rolled back.
  bool over() const {
    return machine_->state() == PredecessorMachine::State::kEnded;
  }
  bool refused() const { return machine_->refused(); }
  // The successor only wants to know whether it could: nothing is given away.
  bool rehearsal() const { return machine_->hello().rehearsal(); }
  bool committed() const { return machine_->committed(); }
  // The same by the word, so before the successor's frame has come.
  bool decided() const { return word_.Load() == Outcome::kCommitted; }
  uint64_t handoff_id() const { return machine_->offer().handoff_id(); }
  bool rolled_back() const { return machine_->rolled_back(); }
  // Whether the successor knows of state of that name.
  bool Reads(absl::string_view name) const;
  // Empty where it was aborted, or is over.
  absl::optional<v1::HandoffProgress> Progress();
  const PeerIdentity* peer() { return link_.channel().peer(); }

 private:
  // What the groups are doing.
  enum class Task { kNone, kFirstRound, kSecondRound, kQuiesce, kCut, kRelease };

  Giving(const Process& process, Channel channel, SharedOutcome word);

  bool ServeGroups(absl::Time now);
  void RollBack();
  void Carry(PredecessorMachine::Command command, absl::Time now);
  void AddDescriptors();
  void AddOutcomes(const Belongings& belongings, const v1::Ready& ready);
  absl::Status AddBlobs(bool first);
  // Those since the last call, for a successor that knows the blob.
  void AddEvents(absl::string_view blob);
  // True where there were any.
  bool AddSnapshots(absl::Time now);
  void SendBatches(absl::Time now);
  absl::string_view PhaseNow() const;
  void NotePhase(absl::Time now);
  void NoteProgress(absl::Time now);
  void Record(absl::Time now);
  void Say(Event::Kind kind, absl::string_view text);

  const Process process_;
  Link link_;
  SharedOutcome word_;
  std::unique_ptr<PredecessorMachine> machine_;
  PredecessorMachine::State seen_ = PredecessorMachine::State::kAwaitHello;
  Task task_ = Task::kNone;
  BatchBuilder builder_;
  std::map<std::string, std::string> sent_blobs_;
  uint64_t events_sent_ = 0;
  PhaseClock phases_;
  // What became of everything, once it is committed, and no more than that.
  v1::LedgerHandoff outcomes_;
  absl::Time started_;  // by the clock on the wall, for the ledger
  absl::Time begun_;
  bool unfinished_ = false;  // Step() ended with more to do
  bool recorded_ = false;
  bool told_refused_ = false;  // the roster, of what Ready refuses
};

}  // namespace handoff

#endif  // HANDOFF_GIVING_H_
