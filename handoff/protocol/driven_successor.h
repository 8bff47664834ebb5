#ifndef HANDOFF_PROTOCOL_DRIVEN_SUCCESSOR_H_
#define HANDOFF_PROTOCOL_DRIVEN_SUCCESSOR_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "handoff/protocol/successor_machine.h"
#include "handoff/protocol/test_frames.h"
#include "handoff/protocol/variable_word.h"
#include "proto/handoff.pb.h"

namespace handoff {

// For tests: a SuccessorMachine with a driver that sends and carries out
// nothing, but notes it. The time moves when the test moves it.
class DrivenSuccessor {
 public:
  using Command = SuccessorMachine::Command;
  using State = SuccessorMachine::State;

  static SuccessorMachine::Config DefaultConfig() {
    SuccessorMachine::Config config;
    config.deadlines = DistinctDeadlines();
    config.hello = HelloFrame().hello();
    config.hello_descriptors = {SharedNumberedFd(1)};
    return config;
  }

  explicit DrivenSuccessor(SuccessorMachine::Config config = DefaultConfig())
      : machine(std::move(config), now) {
    Drain();
  }

  // Brings a fresh machine to `state` by the shortest way, each step of which
  // takes 10 ms; it holds nothing then. kEnded is reached by Retire.
  void GoTo(State state) {
    if (machine.state() == state) return;
    Deliver(OfferFrame(), NumberedFds({1, 2, 3}));
    if (machine.state() == state) return;
    Finish([&] { machine.SetWord(&word, now); });
    if (machine.state() == state) return;
    v1::Frame pre_copied;
    pre_copied.mutable_pre_copied();
    Deliver(pre_copied);
    if (machine.state() == state) return;
    Finish([&] { machine.Ready({}, now); });
    if (machine.state() == state) return;
    v1::Frame final_counts;
    final_counts.mutable_final();
    Deliver(final_counts);
    if (machine.state() == state) return;
    Finish([&] { machine.OnDecoded(now); });
    if (machine.state() == state) return;
    v1::Frame released;
    released.mutable_released();
    Deliver(released);
    if (machine.state() == state) return;
    Finish([&] { machine.Retire(now); });
  }

  void Deliver(v1::Frame frame, std::vector<UniqueFd> descriptors = {}) {
    frame.set_seq(++received);
    Finish([&] { machine.OnFrame(frame, std::move(descriptors), now); });
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
  SuccessorMachine machine;
  bool peer_reads = true;
  uint64_t seq = 0;
  uint64_t received = 0;
  std::vector<v1::Frame> sent;
  std::vector<Command> commands;
};

inline std::string Name(SuccessorMachine::State state) {
  static const char* const names[] = {"await-offer", "mapping",  "staging",
                                      "staged",      "ready",    "decoding",
                                      "committed",   "released", "ended"};
  return names[static_cast<int>(state)];
}

inline std::vector<SuccessorMachine::State> EverySuccessorState() {
  std::vector<SuccessorMachine::State> states;
  for (int s = 0; s <= static_cast<int>(SuccessorMachine::State::kEnded); ++s) {
    states.push_back(static_cast<SuccessorMachine::State>(s));
  }
  return states;
}

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_DRIVEN_SUCCESSOR_H_
