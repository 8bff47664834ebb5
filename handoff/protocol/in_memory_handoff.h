#ifndef HANDOFF_PROTOCOL_IN_MEMORY_HANDOFF_H_
#define HANDOFF_PROTOCOL_IN_MEMORY_HANDOFF_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/changing_sessions.h"
#include "handoff/protocol/predecessor_machine.h"
#include "handoff/protocol/settings.h"
#include "handoff/protocol/successor_machine.h"
#include "handoff/protocol/variable_word.h"
#include "proto/handoff.pb.h"

namespace handoff {

// For tests: a whole handoff in one thread. Two processes, each with its
// machine and a small service; between them the two directions of a connection
// as bounded queues of frames with duplicated descriptors, the word as a
// variable, and a clock that moves one millisecond with each action, or to the
// next deadline where nothing else can happen.
//
// The predecessor's sessions change at each action until they are frozen. The
// caller picks which action comes next, and when a fault happens; fault() says
// at once which promise was broken.
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
  };
  struct Action {
    Side side;
    Step step;
  };

  explicit InMemoryHandoff(bool kill_stuck_successor = true);

  // What can happen next without the time moving on.
  std::vector<Action> Runnable();
  void Run(Action action);
  // To the next deadline. False where nobody waits for any.
  bool AdvanceTime();
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
  // The successor stops deliberately.
  void RetireAndExit();

  // Lives and works on the sessions; for the predecessor until they are frozen.
  bool Owns(Side side) const;
  bool alive(Side side) const { return process(side).alive; }
  // The successor has seen an Offer, so there is something to adopt.
  bool offered() const { return offered_; }
  // How many sessions the successor holds.
  size_t moved() { return successor_.inventory().sessions().size(); }
  Outcome word() const { return word_.Load(); }
  const PredecessorMachine& predecessor() const { return predecessor_; }
  const SuccessorMachine& successor() const { return successor_; }
  // Which promise was broken first; empty while none is.
  const std::string& fault() const { return fault_; }
  // What has happened, an action a line.
  const std::string& log() const { return log_; }

 private:
  struct Datagram {
    v1::Frame frame;
    std::vector<UniqueFd> descriptors;
  };
  struct Process {
    bool alive = true;
    bool hung = false;
    bool told_closed = false;
    bool told_dead = false;
    uint64_t seq = 0;
    std::deque<Datagram> arrived;
    std::deque<std::function<void()>> work;
  };

  static Side Other(Side side) {
    return side == Side::kPredecessor ? Side::kSuccessor : Side::kPredecessor;
  }
  Process& process(Side side) {
    return side == Side::kPredecessor ? old_ : new_;
  }
  const Process& process(Side side) const {
    return side == Side::kPredecessor ? old_ : new_;
  }
  // Calls `use` with the machine of `side`.
  template <typename Use>
  auto With(Side side, Use use) {
    return side == Side::kPredecessor ? use(predecessor_) : use(successor_);
  }
  bool Ended(Side side) const;
  void Note(Side side, const std::string& what);
  void Break(const std::string& promise);
  void Check();

  void Send(Side side);
  void Receive(Side side);
  void Leave(Side side);
  void CarryCommands();
  void Carry(PredecessorMachine::Command command);
  void Carry(SuccessorMachine::Command command);

  // The predecessor's service.
  void Live();
  void StartRound();
  void SendSome(std::deque<uint64_t> ids, std::function<void()> then);

  VariableWord word_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  PredecessorMachine predecessor_;
  SuccessorMachine successor_;
  Process old_;
  Process new_;
  bool connected_ = true;

  ChangingSessions sessions_;
  bool first_round_ = true;
  bool quiesced_ = false;
  bool frozen_ = false;
  bool released_ = false;
  bool rolled_back_ = false;
  int thaws_ = 0;

  bool offered_ = false;
  bool serving_ = false;

  std::string fault_;
  std::string log_;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_IN_MEMORY_HANDOFF_H_
