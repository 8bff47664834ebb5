#ifndef HANDOFF_PROTOCOL_PREDECESSOR_MACHINE_H_
#define HANDOFF_PROTOCOL_PREDECESSOR_MACHINE_H_

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/frame.h"
#include "handoff/protocol/outbox.h"
#include "handoff/protocol/outcome.h"
#include "handoff/protocol/settings.h"
#include "proto/handoff.pb.h"

namespace handoff {

// One handoff, from the side that gives. Does no IO and reads no clock: frames,
// news of the peer, the time, and what the driver has finished go in; frames to
// send and commands for the driver come out. After each call in, the driver
// sends what ToSend() gives and carries out what NextCommand() gives.
//
// Not thread-safe.
class PredecessorMachine {
 public:
  struct Config {
    Deadlines deadlines;
    Limits limits;
    // All but protocol and writes, which are negotiated here.
    v1::Offer offer;
    // What goes with Offer: our pidfd, the word, the FileDescriptorSet.
    std::vector<SharedFd> offer_descriptors;
    std::vector<v1::StateType> writes;
    bool kill_stuck_successor = true;
  };

  enum class Command {
    kRunRound,   // Snapshot live: everything first, what changed later;
                 // AddBatch() each, then OnRoundDone()
    kQuiesce,    // quiesce every group, barrier; then OnQuiesced()
    kCut,        // last snapshots, freeze; AddBatch() each, then OnCut()
    kThaw,       // groups go on (only after kQuiesce or kCut)
    kRelease,    // the sessions are the successor's; then OnReleased()
    kRollBack,   // the successor crashed in the watch: accept again
    kKillPeer,   // it should have gone, and has not
  };

  enum class State {
    kAwaitHello,
    kFirstRound,
    kAwaitReady,
    kSecondRound,  // and more live rounds, while much still changes
    kQuiescing,
    kCutting,
    kFrozen,     // Final is queued or sent
    kReleasing,
    kWatching,
    kAborting,   // decided; the peer is still there
    kEnded,
  };
  // "await-hello", "first-round", ...
  static absl::string_view Name(State state);

  // `word` is borrowed.
  PredecessorMachine(Config config, OutcomeWord* word, absl::Time now);

  // News from the peer. The machine takes over a frame's descriptors, and keeps
  // none: only Hello may have any.
  void OnFrame(const v1::Frame& frame, std::vector<UniqueFd> descriptors,
               absl::Time now);
  // What came cannot be used; `reason` MALFORMED, MISMATCH or TRUNCATED.
  void OnBadFrame(v1::Abort::Reason reason, const absl::Status& why,
                  absl::Time now);
  // End of file. Says nothing about whether the peer lives.
  void OnPeerClosed(absl::Time now);
  // The process has ended, and everything that it sent has been given here.
  void OnPeerDead(absl::Time now);
  void OnTime(absl::Time now);

  // News from the driver.
  void AddBatch(OutgoingFrame batch, absl::Time now);
  void OnRoundDone(absl::Time now);
  void OnQuiesced(absl::Time now);
  // `cut_at`: CLOCK_MONOTONIC in nanoseconds of the first group's cut.
  void OnCut(uint64_t cut_at, absl::Time now);
  void OnReleased(absl::Time now);
  // Ends the handoff from this side. Nothing happens where it is decided.
  void Abort(v1::Abort::Reason reason, const std::string& detail,
             absl::Time now);

  // The frame to send now, or null. The caller fills in its seq; then OnSent().
  OutgoingFrame* ToSend() { return outbox_.Next(); }
  void OnSent(absl::Time now);

  absl::optional<Command> NextCommand();
  // When OnTime() must be called.
  absl::Time NextDeadline() const;

  State state() const { return state_; }
  bool committed() const { return committed_; }
  bool aborted() const { return aborted_; }
  // A Hello was refused: nothing was offered.
  bool refused() const { return refused_; }
  bool rolled_back() const { return rolled_back_; }
  // Why it was refused, aborted or rolled back.
  const absl::Status& why() const { return why_; }
  const v1::Hello& hello() const { return hello_; }
  // What was negotiated; from kFirstRound on.
  const v1::Offer& offer() const { return config_.offer; }
  // From kSecondRound on.
  const v1::Ready& ready() const { return ready_; }
  // How many the successor must hold when it has read everything so far.
  uint64_t sessions() const { return sessions_.size(); }
  // Of the first round: how many have gone out, and whether all has.
  uint64_t sessions_sent() const { return sessions_sent_; }
  bool pre_copied_sent() const { return pre_copied_sent_; }

 private:
  void Enter(State state, absl::Time deadline);
  void Push(v1::Frame frame, absl::Time now);
  void Refuse(v1::Refuse::Reason reason, const absl::Status& why,
              absl::Time now);
  void OnHello(const v1::Hello& hello, absl::Time now);
  // Swaps the word to ABORTED; obeys what is in force.
  void Decide(const absl::Status& why, v1::Abort::Reason reason, bool tell,
              absl::Time now);
  void OnCommitted(absl::Time now);
  void Unexpected(const v1::Frame& frame, absl::Time now);
  void Watch(absl::Time now);
  void RollBack();
  void EndLiveRound(absl::Time now);
  bool undecided() const {
    return state_ > State::kAwaitHello && state_ < State::kReleasing;
  }

  Config config_;
  OutcomeWord* const word_;
  Outbox outbox_;
  State state_ = State::kAwaitHello;
  absl::Time deadline_;
  std::deque<Command> commands_;
  v1::Hello hello_;
  v1::Ready ready_;
  absl::Status why_;
  bool committed_ = false;
  bool aborted_ = false;
  bool refused_ = false;
  bool rolled_back_ = false;
  bool quiesced_ = false;  // kQuiesce was given, so kThaw must follow an abort
  // Of the live rounds after Ready: how many there were, what the last one had,
  // and whether all of it was added.
  int rounds_ = 0;
  size_t round_records_ = 0;
  bool round_done_ = false;
  bool retired_ = false;
  bool closed_ = false;
  bool dead_ = false;
  // What the successor must hold when it has read everything.
  std::unordered_set<uint64_t> sessions_;
  std::set<std::string> blobs_;
  uint64_t named_ = 0;
  uint64_t sessions_sent_ = 0;
  bool pre_copied_sent_ = false;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_PREDECESSOR_MACHINE_H_
