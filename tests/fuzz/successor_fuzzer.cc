// A successor whose peer, driver and clock do what they like: it serves only
// what it has committed, and every wait ends.

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "handoff/protocol/driven_successor.h"
#include "tests/fuzz/script.h"

namespace handoff {
namespace {

using Command = SuccessorMachine::Command;
using State = SuccessorMachine::State;

constexpr int kManyDeadlines = 20;

class Successor {
 public:
  explicit Successor(bool rehearsal) : machine_(Config(rehearsal), now_) {
    Check();
  }

  void Meet(const fuzz::Event& event) {
    std::vector<UniqueFd> descriptors = DescriptorsOf(event);
    switch (event.what_case()) {
      case fuzz::Event::kFrame:
      case fuzz::Event::kMessage:
        if (closed_ || !reads_) return;
        if (const auto frame = FrameOf(event, received_ + 1)) {
          ++received_;
          final_ = final_ ||
                   (frame->has_final() && machine_.state() == State::kReady);
          machine_.OnFrame(*frame, std::move(descriptors), now_);
        } else {
          reads_ = false;
          machine_.OnBadFrame(v1::Abort::MALFORMED,
                              absl::InvalidArgumentError("\xff no frame"),
                              now_);
        }
        break;
      case fuzz::Event::kMilliseconds:
        now_ += absl::Milliseconds(event.milliseconds());
        machine_.OnTime(now_);
        break;
      case fuzz::Event::kClosed:
        Close();
        break;
      case fuzz::Event::kDead:
        Die();
        break;
      case fuzz::Event::kBadFrame:
        machine_.OnBadFrame(event.bad_frame(), absl::DataLossError("cut"),
                            now_);
        break;
      case fuzz::Event::kDriver:
        Drive(event.driver());
        break;
      case fuzz::Event::kWord:
        // A predecessor never commits.
        if (mapped_ && event.word() == fuzz::Event::ABORTED) {
          word_.Decide(Outcome::kAborted);
        }
        break;
      case fuzz::Event::WHAT_NOT_SET:
        break;
    }
    Check();
  }

  // The peer goes; the service still does what it was told to.
  void Finish() {
    Die();
    Check();
    for (int i = 0; machine_.state() != State::kEnded; ++i) {
      Require(i < kManyDeadlines, "every wait ends");
      while (!tasks_.empty()) CarryOut();
      Check();
      now_ = std::max(
          now_, std::min(machine_.NextDeadline(), now_ + absl::Minutes(2)));
      machine_.OnTime(now_);
      Check();
    }
  }

 private:
  static SuccessorMachine::Config Config(bool rehearsal) {
    SuccessorMachine::Config config = DrivenSuccessor::DefaultConfig();
    config.hello.set_rehearsal(rehearsal);
    config.limits.sessions = 20;
    config.limits.state_bytes = 1'000;
    return config;
  }

  void Close() {
    if (!std::exchange(closed_, true)) machine_.OnPeerClosed(now_);
  }
  void Die() {
    Close();
    if (!std::exchange(dead_, true)) machine_.OnPeerDead(now_);
  }

  void Drive(fuzz::Event::Driver driver) {
    switch (driver) {
      case fuzz::Event::CARRY_OUT:
        return CarryOut();
      case fuzz::Event::STOP_SENDING:
        sends_ = false;
        return;
      case fuzz::Event::GO_ON_SENDING:
        sends_ = true;
        return;
      case fuzz::Event::ABORT:
        return machine_.Abort(v1::Abort::RESTORE, "cannot \xff", now_);
      case fuzz::Event::RETIRE:
        return machine_.Retire(now_);
      case fuzz::Event::READY:
        return machine_.Ready({}, now_);
      case fuzz::Event::DECODED:
        return machine_.OnDecoded(now_);
      default:
        return;
    }
  }

  void CarryOut() {
    if (tasks_.empty()) return;
    const Command command = tasks_.front();
    tasks_.pop_front();
    switch (command) {
      case Command::kOffered:
        if (machine_.state() != State::kMapping) return;
        Require(machine_.offer_descriptors().size() == 2,
                "an offer has the word and the types");
        machine_.offer_descriptors().clear();
        mapped_ = true;
        return machine_.SetWord(&word_, now_);
      case Command::kStaged:
        return machine_.Ready({}, now_);
      case Command::kDecode:
        return machine_.OnDecoded(now_);
      default:
        return;
    }
  }

  void Told(Command command) {
    const bool committed =
        machine_.committed() && word_.Load() == Outcome::kCommitted;
    switch (command) {
      case Command::kServe:
        Require(committed && final_, "it serves what it committed after Final");
        Require(++serves_ == 1, "it serves once");
        break;
      case Command::kAdopt:
        Require(committed && dead_, "it adopts from the dead only");
        Require(++serves_ == 1, "it serves once");
        break;
      case Command::kReleased:
        Require(committed && ++releases_ == 1, "one release, if any");
        break;
      default:
        break;
    }
    tasks_.push_back(command);
  }

  void Check() {
    machine_.OnTime(now_);
    Require(machine_.NextDeadline() > now_, "no deadline is met twice");
    while (auto command = machine_.NextCommand()) Told(*command);
    for (OutgoingFrame* next = machine_.ToSend();
         next != nullptr && sends_ && !closed_; next = machine_.ToSend()) {
      const v1::Frame& frame = next->frame;
      RequireReadable(frame, next->descriptors.size());
      Require(!frame.has_committed() || word_.Load() == Outcome::kCommitted,
              "Committed is sent after the swap");
      Require(
          !frame.has_abort() || !mapped_ || word_.Load() == Outcome::kAborted,
          "Abort is sent after the swap");
      next->frame.set_seq(++sent_);
      machine_.OnSent(now_);
    }
    Require(machine_.committed() == (word_.Load() == Outcome::kCommitted),
            "the word is COMMITTED by its swap alone");
    Require(machine_.committed() == (serves_ == 1), "it serves if committed");
    if (machine_.state() == State::kEnded && !machine_.committed()) {
      Require(!machine_.why().ok(), "there is a reason");
      Require(!mapped_ || word_.Load() == Outcome::kAborted,
              "the word says that it gave up");
    }
  }

  VariableWord word_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  SuccessorMachine machine_;
  std::deque<Command> tasks_;
  bool sends_ = true;
  bool reads_ = true;
  bool closed_ = false;
  bool dead_ = false;
  bool mapped_ = false;
  bool final_ = false;
  int serves_ = 0;
  int releases_ = 0;
  uint64_t received_ = 0;
  uint64_t sent_ = 0;
};

void Run(const fuzz::Script& script) {
  const NoLeak no_leak;
  Successor successor(/*rehearsal=*/script.rehearsal());
  for (const fuzz::Event& event : script.events()) successor.Meet(event);
  successor.Finish();
}

}  // namespace
}  // namespace handoff

HANDOFF_FUZZER(fuzz::Script, Run)
