#ifndef HANDOFF_PROTOCOL_IN_MEMORY_HANDOFF_H_
#define HANDOFF_PROTOCOL_IN_MEMORY_HANDOFF_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/protocol/changing_sessions.h"
#include "handoff/protocol/frame_fault.h"
#include "handoff/protocol/in_memory_connection.h"
#include "handoff/protocol/predecessor_machine.h"
#include "handoff/protocol/settings.h"
#include "handoff/protocol/successor_machine.h"
#include "handoff/protocol/test_frames.h"
#include "handoff/protocol/variable_word.h"
#include "proto/handoff.pb.h"

namespace handoff {

// For tests: a whole handoff in one thread. Two processes, each with its
// machine and a small service; between them the two directions of a connection
// as bounded queues of frames with duplicated descriptors, the word as a
// variable, and a clock that moves one millisecond with each action, or to the
// next deadline where nothing else can happen.
//
// The predecessor's sessions change at each action until they are frozen, and
// the successor's from when it serves. The caller picks which action comes
// next, and when a fault happens; fault() says at once which promise was
// broken.
//
// Not thread-safe.
class InMemoryHandoff {
 public:
  enum class Side { kPredecessor, kSuccessor };
  enum class Step {
    kSend,     // the next frame into the peer's queue
    kReceive,  // the next frame, or that the peer has closed or is dead
    kWork,     // the service finishes a piece of what a command asked for
    kLeave,    // the machine has ended: closes the connection
    kTick,     // its deadline has passed
  };
  struct Action {
    Side side;
    Step step;
  };

  struct Options {
    bool kill_stuck_successor = true;
    bool keep_log = true;
    uint64_t sessions = 6;
    int changes_per_action = 1;
    // What the successor says of itself.
    v1::Hello hello = HelloFrame().hello();
    // Of what faults make of frames.
    uint64_t seed = 0;
  };
  InMemoryHandoff() : InMemoryHandoff(Options()) {}
  explicit InMemoryHandoff(const Options& options);

  std::vector<Action> Runnable();  // without the time moving on
  void Run(Action action);
  // To the next deadline. False where nobody waits for any.
  bool AdvanceTime();
  // Some time passes in which nobody comes to act.
  void PassTime(absl::Duration duration) { now_ += duration; }
  // Runs what `pick` chooses of n actions until nothing is left to happen.
  using Pick = std::function<size_t(size_t n)>;
  void Settle(const Pick& pick);

  // Faults, and what a service may do at any time.
  void Abort(Side side);
  void ReceiveBadFrame(Side side);
  void CloseConnection();
  void Die(Side side);
  void Hang(Side side) { process(side).hung = true; }
  void WakeUp(Side side) { process(side).hung = false; }
  bool hung(Side side) const { return process(side).hung; }
  // Happens to the next frame that `from` sends.
  void Spoil(Side from, FrameFault fault) { process(from).spoil = fault; }
  // What is on its way to `side` comes this much later.
  void HoldBack(Side side, absl::Duration duration);
  // The service of `side` finishes nothing for as long.
  void Stall(Side side, absl::Duration duration);
  // The successor stops deliberately.
  void RetireAndExit();

  // Lives and works on the sessions.
  bool Owns(Side side) const;
  bool alive(Side side) const { return process(side).alive; }
  // The successor has seen an Offer, so there is something to adopt.
  bool offered() const { return offered_; }
  bool adopted() const { return adopted_; }
  bool rehearsal() const { return options_.hello.rehearsal(); }
  // Somebody took a frame for another than was sent.
  bool forged() const { return old_.in.forged() || new_.in.forged(); }
  // How many sessions the successor holds.
  size_t moved() { return successor_.inventory().sessions().size(); }
  Outcome word() const { return word_.Load(); }
  const PredecessorMachine& predecessor() const { return predecessor_; }
  const SuccessorMachine& successor() const { return successor_; }
  // Which promise was broken first; empty while none is.
  const std::string& fault() const { return fault_; }
  // The same where nothing is left to happen and nobody hangs.
  std::string FaultAtEnd() const;
  const std::string& log() const { return log_; }  // an action a line

 private:
  struct Process {
    bool alive = true;
    bool hung = false;
    bool told_closed = false;
    bool told_dead = false;
    bool left = false;
    bool reads = true;  // until a frame comes that it cannot use
    FrameFault spoil = FrameFault::kNone;
    InMemoryDirection in;
    std::deque<std::function<void()>> work;
    absl::Time works_at = absl::InfinitePast();
  };
  static Side Other(Side side) {
    return side == Side::kPredecessor ? Side::kSuccessor : Side::kPredecessor;
  }
  Process& process(Side side) { return processes_[static_cast<int>(side)]; }
  const Process& process(Side side) const {
    return processes_[static_cast<int>(side)];
  }
  // Calls `use` with the machine of `side`.
  template <typename Use>
  auto With(Side side, Use use) {
    return side == Side::kPredecessor ? use(predecessor_) : use(successor_);
  }
  void OnDecide(Side side, Outcome want);
  bool Ended(Side side) const;
  bool CanRead(Side side) const;
  bool SeesEnd(Side side) const;
  template <typename... What>
  void Note(Side side, const What&... what) {
    if (!options_.keep_log) return;
    absl::StrAppend(
        &log_, absl::FormatTime("%M:%E3S", now_, absl::UTCTimeZone()),
        side == Side::kPredecessor ? " old " : " new ", what..., "\n");
  }
  void Break(absl::string_view promise);
  void Check();
  void CheckSent(const v1::Frame& frame);

  void Send(Side side);
  void Receive(Side side);
  void Leave(Side side);
  void End(Side side);
  void CarryCommands();
  void Carry(PredecessorMachine::Command command);
  void Carry(SuccessorMachine::Command command);

  void Live();
  void StartRound();
  void SendSome(std::deque<uint64_t> ids, std::function<void()> then);

  const Options options_;
  std::mt19937_64 random_;
  VariableWord word_;
  WatchedWord old_word_;
  WatchedWord new_word_;
  // The log tells minutes and seconds: it begins at 00:00.
  absl::Time now_ = absl::FromUnixSeconds(3'600'000);
  PredecessorMachine predecessor_;
  SuccessorMachine successor_;
  Process processes_[2];
  Process& old_ = processes_[0];
  Process& new_ = processes_[1];
  bool connected_ = true;

  ChangingSessions sessions_;
  bool first_round_ = true;
  bool quiesced_ = false;
  bool frozen_ = false;
  bool released_ = false;
  bool rolled_back_ = false;
  bool retires_ = false;  // and Retire is on its way
  bool retired_ = false;  // and Retire has come
  int thaws_ = 0;

  bool offered_ = false;
  bool serving_ = false;
  bool adopted_ = false;
  bool any_died_ = false;  // of a fault

  std::string fault_;
  std::string log_;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_IN_MEMORY_HANDOFF_H_
