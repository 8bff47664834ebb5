#include "handoff/protocol/simulation.h"

#include <array>
#include <deque>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "handoff/fd/fd_table.h"
#include "handoff/protocol/in_memory_handoff.h"

namespace handoff {
namespace {

using Side = InMemoryHandoff::Side;
using Action = InMemoryHandoff::Action;
using Random = std::mt19937_64;

// A handoff has some 100 steps, one of many sessions 1,500; whoever takes more
// will take them for ever.
constexpr int kMaxSteps = 20'000;
constexpr int kUsualSteps = 110;

// The lowest free number is always taken first: one that leaks is below.
constexpr int kDescriptors = 512;

bool OneIn(uint64_t n, Random& random) { return random() % n == 0; }

Side AnySide(Random& random) {
  return OneIn(2, random) ? Side::kPredecessor : Side::kSuccessor;
}

// From a millisecond to a minute and more, each order of magnitude as often.
absl::Duration SomeTime(Random& random) {
  return absl::Milliseconds(1 + (random() % 128 << random() % 10));
}

InMemoryHandoff::Options SomeOptions(uint64_t seed, bool keep_log,
                                     Random& random) {
  InMemoryHandoff::Options options;
  options.kill_stuck_successor = !OneIn(3, random);
  options.keep_log = keep_log;
  options.changes_per_action = static_cast<int>(random() % 3);
  options.seed = seed;
  // So many that more live rounds than one follow Ready.
  if (OneIn(100, random)) options.sessions = 100;
  v1::Hello& hello = options.hello;
  if (OneIn(40, random)) hello.set_lowest_protocol(kHighestProtocol + 1);
  if (OneIn(40, random)) hello.set_descriptor_headroom(random() % 200);
  if (OneIn(40, random)) hello.mutable_reads(0)->set_lowest(random() % 6);
  if (OneIn(40, random)) *hello.add_reads() = hello.reads(0);
  hello.set_rehearsal(OneIn(20, random));
  return options;
}

// One run: who acts next, how the time moves, and which faults happen when.
class Simulation {
 public:
  Simulation(uint64_t seed, bool keep_log)
      : random_(seed), handoff_(SomeOptions(seed, keep_log, random_)) {
    // One process may be faster than the other, and the time too.
    old_share_ = std::array<uint64_t, 5>{4, 4, 4, 1, 7}[random_() % 5];
    jumps_ = std::array<uint64_t, 3>{0, 100, 20}[random_() % 3];
    if (OneIn(8, random_)) return;  // no faults
    only_frames_ = OneIn(4, random_);
    const int earliest = OneIn(3, random_) ? 50 : 0;
    for (uint64_t left = 1 + random_() % 5; left > 0; --left) {
      // Anywhere, or close upon the one before.
      const bool close = !faults_.empty() && OneIn(2, random_);
      const int step = close ? faults_.back() + Below(5)
                             : earliest + Below(kUsualSteps - earliest);
      faults_.push_back(step);
    }
  }

  SimulatedHandoff Run() {
    SimulatedHandoff result;
    while (handoff_.fault().empty() && Step()) {
      if (++steps_ > kMaxSteps) {
        result.fault = "it goes on for ever";
        break;
      }
    }
    if (result.fault.empty()) result.fault = handoff_.fault();
    if (result.fault.empty()) result.fault = handoff_.FaultAtEnd();
    result.log = handoff_.log();
    result.committed = handoff_.word() == Outcome::kCommitted;
    result.aborted = handoff_.word() == Outcome::kAborted;
    result.refused = handoff_.predecessor().refused();
    result.adopted = handoff_.adopted();
    result.rolled_back = handoff_.predecessor().rolled_back();
    result.rehearsed = handoff_.rehearsal() && result.aborted;
    result.nothing = handoff_.word() == Outcome::kOpen && !result.refused;
    result.forged = handoff_.forged();
    result.steps = steps_;
    return result;
  }

 private:
  int Below(int end) {
    return static_cast<int>(random_() % static_cast<uint64_t>(end));
  }

  // False where nothing is left to happen.
  bool Step() {
    for (size_t i = 0; i < faults_.size(); ++i) {
      if (faults_[i] > steps_) continue;
      faults_.erase(faults_.begin() + static_cast<ptrdiff_t>(i));
      SomeFault();
      return true;
    }
    if (jumps_ != 0 && OneIn(jumps_, random_)) {
      handoff_.PassTime(SomeTime(random_));
    }
    const std::vector<Action> actions = handoff_.Runnable();
    if (!actions.empty()) {
      handoff_.Run(Pick(actions));
      return true;
    }
    if (handoff_.AdvanceTime()) return true;
    // What has not happened by now happens now.
    if (!faults_.empty()) {
      faults_.pop_back();
      SomeFault();
      return true;
    }
    bool woken = false;
    for (const Side side : {Side::kPredecessor, Side::kSuccessor}) {
      if (!handoff_.hung(side)) continue;
      handoff_.WakeUp(side);
      woken = true;
    }
    return woken;
  }

  Action Pick(const std::vector<Action>& actions) {
    const Side side =
        random_() % 8 < old_share_ ? Side::kPredecessor : Side::kSuccessor;
    std::vector<Action> of_side;
    for (const Action& action : actions) {
      if (action.side == side) of_side.push_back(action);
    }
    const std::vector<Action>& from = of_side.empty() ? actions : of_side;
    return from[random_() % from.size()];
  }

  void SomeFault() {
    const Side side = AnySide(random_);
    switch (only_frames_ ? 15 : random_() % 16) {
      case 0:
      case 1:
        return handoff_.Die(side);
      case 2:
        return handoff_.Hang(side);
      case 3:
        for (const Side hung : {Side::kPredecessor, Side::kSuccessor}) {
          handoff_.WakeUp(hung);
        }
        return;
      case 4:
        handoff_.Abort(side);
        // Before it can say so: only the word tells of it then.
        if (OneIn(3, random_)) handoff_.Die(side);
        return;
      case 5:
        return handoff_.CloseConnection();
      case 6:
        return handoff_.RetireAndExit();
      case 7:
        return handoff_.HoldBack(side, SomeTime(random_));
      case 8:
        return handoff_.Stall(side, SomeTime(random_));
      case 9:
        return handoff_.PassTime(SomeTime(random_));
      case 10:
        return handoff_.ReceiveBadFrame(side);
      default:
        return handoff_.Spoil(side, SomeFrameFault());
    }
  }

  FrameFault SomeFrameFault() {
    // Only another body gets past every check of a frame by itself.
    if (OneIn(3, random_)) return FrameFault::kOtherBody;
    return static_cast<FrameFault>(1 + Below(kFrameFaults - 1));
  }

  Random random_;
  InMemoryHandoff handoff_;
  bool only_frames_ = false;  // faults are what happens to frames
  uint64_t old_share_ = 4;    // of eight steps
  uint64_t jumps_ = 0;        // one in so many steps; 0: none
  std::deque<int> faults_;    // the steps before which they happen
  int steps_ = 0;
};

}  // namespace

SimulatedHandoff Simulate(uint64_t seed, bool keep_log) {
  const int open = OpenDescriptorsBelow(kDescriptors);
  SimulatedHandoff result = Simulation(seed, keep_log).Run();
  const int leaked = OpenDescriptorsBelow(kDescriptors) - open;
  if (result.fault.empty() && leaked != 0) {
    result.fault = absl::StrCat(leaked, " descriptors leaked");
  }
  return result;
}

}  // namespace handoff
