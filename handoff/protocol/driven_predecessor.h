#ifndef HANDOFF_PROTOCOL_DRIVEN_PREDECESSOR_H_
#define HANDOFF_PROTOCOL_DRIVEN_PREDECESSOR_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "handoff/protocol/predecessor_machine.h"
#include "handoff/protocol/test_frames.h"
#include "handoff/protocol/variable_word.h"
#include "proto/handoff.pb.h"

namespace handoff {

// For tests: a PredecessorMachine with a driver that sends and carries out
// nothing, but notes it. The time moves when the test moves it.
class DrivenPredecessor {
 public:
  using Command = PredecessorMachine::Command;
  using State = PredecessorMachine::State;

  static PredecessorMachine::Config DefaultConfig() {
    PredecessorMachine::Config config;
    config.deadlines = DistinctDeadlines();
    config.limits.window_frames = 2;
    config.offer = OfferFrame().offer();
    config.offer.clear_protocol();
    config.offer.clear_writes();
    config.offer_descriptors = {SharedNumberedFd(1), SharedNumberedFd(2),
                                SharedNumberedFd(3)};
    v1::StateType writes;
    writes.set_name("chat");
    writes.set_lowest(1);
    writes.set_highest(2);
    config.writes.push_back(std::move(writes));
    return config;
  }

  explicit DrivenPredecessor(
      PredecessorMachine::Config config = DefaultConfig())
      : machine(std::move(config), &word, now) {}

  // Brings a fresh machine to `state` by the shortest way, each step of which
  // takes 10 ms. kAborting is reached before the groups quiesce, kEnded by
  // Retire.
  void GoTo(State state) {
    if (machine.state() == state) return;
    Deliver(HelloFrame());
    if (machine.state() == state) return;
    if (state == State::kAborting) {
      machine.Abort(v1::Abort::STOPPED, "asked to stop", now);
      return Drain();
    }
    Finish([&] { machine.OnRoundDone(now); });
    if (machine.state() == state) return;
    v1::Frame ready;
    ready.mutable_ready();
    Deliver(ready);
    if (machine.state() == state) return;
    Finish([&] { machine.OnRoundDone(now); });
    if (machine.state() == state) return;
    Finish([&] { machine.OnQuiesced(now); });
    if (machine.state() == state) return;
    Finish([&] { machine.OnCut(4711, now); });
    if (machine.state() == state) return;
    word.Decide(Outcome::kCommitted);
    v1::Frame committed;
    committed.mutable_committed();
    Deliver(committed);
    if (machine.state() == state) return;
    Finish([&] { machine.OnReleased(now); });
    if (machine.state() == state) return;
    v1::Frame retire;
    retire.mutable_retire();
    Deliver(retire);
  }

  void Deliver(const v1::Frame& frame) {
    Finish([&] { machine.OnFrame(frame, {}, now); });
  }
  template <typename Step>
  void Finish(Step step) {
    now += absl::Milliseconds(10);
    step();
    Drain();
  }
  // Only lets the time come.
  void At(absl::Time time) {
    now = time;
    machine.OnTime(now);
    Drain();
  }
  // Sends what may be sent where the peer reads, and takes the commands.
  void Drain() {
    for (OutgoingFrame* next = machine.ToSend(); next != nullptr && peer_reads;
         next = machine.ToSend()) {
      next->frame.set_seq(++seq);
      sent.push_back(next->frame);
      sent_descriptors = next->descriptors;
      machine.OnSent(now);
    }
    for (auto c = machine.NextCommand(); c.has_value();
         c = machine.NextCommand()) {
      commands.push_back(*c);
    }
  }
  int Count(Command command) const {
    int count = 0;
    for (const Command c : commands) count += c == command;
    return count;
  }
  // The names of what was sent.
  std::vector<std::string> SentNames() const {
    std::vector<std::string> names;
    for (const v1::Frame& f : sent) names.emplace_back(BodyName(f));
    return names;
  }
  void Forget() {
    sent.clear();
    commands.clear();
  }

  VariableWord word;
  absl::Time now = absl::FromUnixSeconds(1'000'000);
  PredecessorMachine machine;
  bool peer_reads = true;
  uint64_t seq = 0;
  std::vector<v1::Frame> sent;
  std::vector<SharedFd> sent_descriptors;  // of the last frame
  std::vector<Command> commands;
};

inline std::string Name(PredecessorMachine::State state) {
  static const char* const names[] = {
      "await-hello", "first-round", "await-ready", "second-round",
      "quiescing",   "cutting",     "frozen",      "releasing",
      "watching",    "aborting",    "ended"};
  return names[static_cast<int>(state)];
}

inline std::vector<PredecessorMachine::State> EveryPredecessorState() {
  std::vector<PredecessorMachine::State> states;
  for (int s = 0; s <= static_cast<int>(PredecessorMachine::State::kEnded);
       ++s) {
    states.push_back(static_cast<PredecessorMachine::State>(s));
  }
  return states;
}

// From Offer until the outcome.
inline bool Undecided(PredecessorMachine::State state) {
  return state > PredecessorMachine::State::kAwaitHello &&
         state < PredecessorMachine::State::kReleasing;
}

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_DRIVEN_PREDECESSOR_H_
