#ifndef HANDOFF_TAKING_H_
#define HANDOFF_TAKING_H_

#include <poll.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "handoff/handoff.h"
#include "handoff/link.h"
#include "handoff/phase_clock.h"
#include "handoff/protocol/staged_inventory.h"
#include "handoff/protocol/successor_machine.h"
#include "handoff/reporter.h"
#include "handoff/shared_outcome.h"
#include "handoff/wake.h"

namespace handoff {

// The handoff that made this process the current one, from this side. Up to the
// commit it blocks the thread that calls Start(), TakeSessions() and Ready(),
// each wait with a deadline; afterwards it lives on the library's thread, until
// the predecessor is retired or gone.
//
// Between Stage() and the end of NextStaged() everything but what the offer and
// the inventory have under a name belongs to the thread that receives.
class Taking {
 public:
  // Where nothing was committed, tells the predecessor that nothing will be.
  ~Taking();

  // Says Hello. `options` and `report` are borrowed.
  static absl::StatusOr<std::unique_ptr<Taking>> Create(
      const Options& options, const Reporter& report, Channel channel);

  // Receives what has a name. Sessions are received on a thread of their own
  // from then on, while this one restores them. OK also where the predecessor
  // died on the way and what has come is adopted.
  absl::Status Stage();
  // Until PreCopied: what of the sessions has come since the last call, at
  // least one of them or the end. Nothing: that was all. An error is that of
  // the handoff, which has ended.
  absl::StatusOr<StagedInventory::SessionChanges> NextStaged();
  // In place of the rest of it.
  void StopReceiving();
  // Sends Ready, and returns once committed (or adopted); that the predecessor
  // hears of it is left to Step(). `apply` restores what
  // inventory() says has changed; it is called while the predecessor's groups
  // are live, and for the last time when they are frozen. After NextStaged()
  // has said that there is no more.
  absl::Status Commit(v1::Ready ready,
                      const std::function<absl::Status()>& apply);

  // In place of Commit() in a rehearsal: aborts, and tells the predecessor how
  // it went. OK where the handoff was whole until then.
  absl::Status Rehearse(const std::string& how);

  // After the commit.
  void Step(absl::Time now);
  void AddTo(std::vector<pollfd>& polled) const { link_.AddTo(polled); }
  absl::Time NextWake(absl::Time now) const;
  // The predecessor ends its watch. Before this process offers to anyone else,
  // and before it stops. By the word; the frame only makes it quick.
  void Retire(absl::Time now);
  // The predecessor needs nothing more from us.
  bool over() const {
    return machine_->state() == SuccessorMachine::State::kEnded;
  }

  StagedInventory& inventory() { return machine_->inventory(); }
  const v1::Offer& offer() const { return machine_->offer(); }
  // The negotiated version of a type's state; 0: there is none.
  uint32_t VersionOf(absl::string_view type) const;
  // CLOCK_MONOTONIC in nanoseconds; 0 where the predecessor died before.
  uint64_t cut_at() const { return machine_->final_counts().cut_at(); }
  // When the offer came.
  absl::Time offered_at() const { return offered_at_; }
  // Up to the commit, by this side's clock.
  const PhaseClock& phases() const { return phases_; }
  // The predecessor died before Final.
  bool adopted() const { return adopted_; }
  // 0 where it has not spoken.
  pid_t predecessor() {
    const PeerIdentity* peer = link_.channel().peer();
    return peer == nullptr ? 0 : peer->credentials.pid;
  }

 private:
  Taking(const Options& options, const Reporter& report, Wake wake,
         Channel channel);

  // Exchanges until `done` or the machine has ended uncommitted.
  absl::Status RunUntil(const std::function<bool()>& done,
                        const std::function<absl::Status()>& apply);
  absl::Status Carry(SuccessorMachine::Command command,
                     const std::function<absl::Status()>& apply,
                     absl::Time now);
  void CatchUp(absl::Time now);
  // Hands what has come over to NextStaged().
  void PassOn();
  void Join();
  absl::Status MapWord(absl::Time now);
  void Say(Event::Kind kind, absl::string_view text);
  void NoteState();

  const Options& options_;
  const Reporter& report_;
  Link link_;
  std::unique_ptr<SharedOutcome> word_;
  std::unique_ptr<SuccessorMachine> machine_;
  SuccessorMachine::State seen_ = SuccessorMachine::State::kAwaitOffer;
  absl::Time offered_at_;
  PhaseClock phases_;
  bool staged_ = false;
  bool serving_ = false;
  bool adopted_ = false;
  bool unfinished_ = false;  // Step() ended with more to do

  const Wake stop_receiving_;
  std::thread receiver_;
  bool passes_on_ = false;  // what has come goes to NextStaged()
  std::mutex mu_;           // guards what follows
  std::condition_variable passed_on_;
  StagedInventory::SessionChanges arrived_;
  bool stopped_ = false;
  absl::optional<absl::Status> received_;  // how that ended
};

}  // namespace handoff

#endif  // HANDOFF_TAKING_H_
