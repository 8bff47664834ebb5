#ifndef HANDOFF_PROTOCOL_SUCCESSOR_MACHINE_H_
#define HANDOFF_PROTOCOL_SUCCESSOR_MACHINE_H_

#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "handoff/protocol/frame.h"
#include "handoff/protocol/outbox.h"
#include "handoff/protocol/outcome.h"
#include "handoff/protocol/settings.h"
#include "handoff/protocol/staged_inventory.h"
#include "proto/handoff.pb.h"

namespace handoff {

// One handoff, from the side that takes. As PredecessorMachine, does no IO and
// reads no clock. Not thread-safe.
class SuccessorMachine {
 public:
  struct Config {
    Deadlines deadlines;
    Limits limits;
    v1::Hello hello;
    std::vector<SharedFd> hello_descriptors;  // our pidfd
  };

  enum class Command {
    kOffered,  // map the word, check headroom; then SetWord()
    kStaged,   // the first round is complete: restore; then Ready()
    kDecode,   // Final is here: restore what changed; then OnDecoded()
    kServe,    // committed: everything in the inventory is ours
    kAdopt,    // the predecessor died before Final: the listeners are ours, and
               // the sessions that nobody has touched
    kReleased, // the predecessor has closed its copies
  };

  enum class State {
    kAwaitOffer,
    kMapping,    // kOffered was given
    kStaging,
    kStaged,     // the service restores
    kReady,
    kDecoding,   // Final is here
    kCommitted,
    kReleased,   // the predecessor watches
    kEnded,      // aborted or refused; or retired
  };

  // "await-offer", "mapping", ...
  static absl::string_view Name(State state);

  SuccessorMachine(Config config, absl::Time now);

  // News from the peer, as for PredecessorMachine; the machine takes over a
  // frame's descriptors.
  void OnFrame(v1::Frame frame, std::vector<UniqueFd> descriptors,
               absl::Time now);
  void OnBadFrame(v1::Abort::Reason reason, const absl::Status& why,
                  absl::Time now);
  void OnPeerClosed(absl::Time now);
  void OnPeerDead(absl::Time now);
  void OnTime(absl::Time now);

  // News from the driver.
  // Answers kOffered; `word` is borrowed.
  void SetWord(OutcomeWord* word, absl::Time now);
  // Answers kStaged.
  void Ready(v1::Ready ready, absl::Time now);
  // Answers kDecode: everything is restored. Swaps the word.
  void OnDecoded(absl::Time now);
  void Abort(v1::Abort::Reason reason, const std::string& detail,
             absl::Time now);
  // Ends the predecessor's watch: before this process offers to anyone else,
  // and before it stops. Nothing happens where there is none to retire.
  void Retire(absl::Time now);

  OutgoingFrame* ToSend() { return outbox_.Next(); }
  void OnSent(absl::Time now) { outbox_.Sent(now); }
  absl::optional<Command> NextCommand();
  absl::Time NextDeadline() const;

  State state() const { return state_; }
  // The word is COMMITTED, by our swap.
  bool committed() const { return committed_; }
  // Why it ended uncommitted.
  const absl::Status& why() const { return why_; }
  const v1::Offer& offer() const { return offer_; }
  // What came with Offer besides the sender's pidfd: the word, and the
  // FileDescriptorSet of the predecessor's state.
  std::vector<UniqueFd>& offer_descriptors() { return offer_descriptors_; }
  const v1::Final& final_counts() const { return final_; }
  StagedInventory& inventory() { return inventory_; }
  // Sessions have begun to come: named descriptors and blobs are all there, and
  // stay as they are until Ready.
  bool named_complete() const { return named_complete_; }

 private:
  void Enter(State state, absl::Time deadline);
  void Push(v1::Frame frame, absl::Time now);
  void End(absl::Status why);
  // Swaps the word to ABORTED, tells the peer, and ends.
  void Fail(v1::Abort::Reason reason, const absl::Status& why, absl::Time now);
  void OnOffer(const v1::Frame& frame, std::vector<UniqueFd> descriptors,
               absl::Time now);
  void OnFinal(const v1::Final& final_counts, absl::Time now);
  void Adopt(absl::Time now);
  // How long nothing may come while something must.
  absl::Duration Silence() const;

  const Config config_;
  OutcomeWord* word_ = nullptr;
  Outbox outbox_;
  StagedInventory inventory_;
  State state_ = State::kAwaitOffer;
  absl::Time deadline_;
  absl::Time staging_deadline_ = absl::InfiniteFuture();
  std::deque<Command> commands_;
  v1::Offer offer_;
  std::vector<UniqueFd> offer_descriptors_;
  v1::Final final_;
  absl::Status why_;
  bool named_complete_ = false;
  bool committed_ = false;
  bool closed_ = false;
  bool dead_ = false;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_SUCCESSOR_MACHINE_H_
