// A predecessor whose peer, driver and clock do what they like: one outcome,
// every command in its place, and every wait ends.

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "handoff/protocol/driven_predecessor.h"
#include "tests/fuzz/script.h"

namespace handoff {
namespace {

using Command = PredecessorMachine::Command;
using State = PredecessorMachine::State;

constexpr int kManyDeadlines = 20;

class Predecessor {
 public:
  Predecessor() : machine_(Config(), &word_, now_) {}

  void Meet(const fuzz::Event& event) {
    std::vector<UniqueFd> descriptors = DescriptorsOf(event);
    switch (event.what_case()) {
      case fuzz::Event::kFrame:
      case fuzz::Event::kMessage:
        if (closed_ || !reads_) return;
        if (const auto frame = FrameOf(event, received_ + 1)) {
          ++received_;
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
        Close();
        if (!std::exchange(dead_, true)) machine_.OnPeerDead(now_);
        break;
      case fuzz::Event::kBadFrame:
        machine_.OnBadFrame(event.bad_frame(), absl::DataLossError("cut"),
                            now_);
        break;
      case fuzz::Event::kDriver:
        Drive(event.driver());
        break;
      case fuzz::Event::kWord:
        // No successor commits in a rehearsal, or before an offer.
        if (machine_.hello().rehearsal() ||
            machine_.state() == State::kAwaitHello)
          break;
        if (event.word() != fuzz::Event::NOTHING) {
          word_.Decide(event.word() == fuzz::Event::COMMITTED
                           ? Outcome::kCommitted
                           : Outcome::kAborted);
        }
        break;
      case fuzz::Event::WHAT_NOT_SET:
        break;
    }
    Check();
  }

  // The peer goes, and nobody does anything any more.
  void Finish() {
    Close();
    if (!dead_) machine_.OnPeerDead(now_);
    dead_ = true;
    Check();
    for (int i = 0; machine_.state() != State::kEnded; ++i) {
      Require(i < kManyDeadlines, "every wait ends");
      Require(machine_.NextDeadline() != absl::InfiniteFuture(),
              "every wait has a deadline");
      now_ = std::max(now_, machine_.NextDeadline());
      machine_.OnTime(now_);
      Check();
    }
  }

 private:
  static PredecessorMachine::Config Config() {
    PredecessorMachine::Config config = DrivenPredecessor::DefaultConfig();
    config.limits.window_descriptors = 3;
    return config;
  }

  void Close() {
    if (!std::exchange(closed_, true)) machine_.OnPeerClosed(now_);
  }

  void AddBatch() {
    OutgoingFrame batch;
    v1::SessionRecord* record = batch.frame.mutable_sessions()->add_records();
    record->set_id(++sessions_);
    record->set_type("chat");
    machine_.AddBatch(std::move(batch), now_);
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
        return machine_.Abort(v1::Abort::STOPPED, "told \xff to", now_);
      case fuzz::Event::BATCH:
        return AddBatch();
      case fuzz::Event::ROUND_DONE:
        return machine_.OnRoundDone(now_);
      case fuzz::Event::QUIESCED:
        return machine_.OnQuiesced(now_);
      case fuzz::Event::CUT:
        return machine_.OnCut(1, now_);
      case fuzz::Event::RELEASED:
        return machine_.OnReleased(now_);
      default:
        return;
    }
  }

  void CarryOut() {
    if (tasks_.empty()) return;
    const Command command = tasks_.front();
    tasks_.pop_front();
    switch (command) {
      case Command::kRunRound:
        AddBatch();
        return machine_.OnRoundDone(now_);
      case Command::kQuiesce:
        return machine_.OnQuiesced(now_);
      case Command::kCut:
        AddBatch();
        return machine_.OnCut(1, now_);
      case Command::kRelease:
        return machine_.OnReleased(now_);
      default:
        return;
    }
  }

  void Told(Command command) {
    switch (command) {
      case Command::kQuiesce:
        quiesced_ = true;
        break;
      case Command::kThaw:
        Require(quiesced_ && ++thaws_ == 1, "one thaw for what was quiesced");
        Require(machine_.aborted() && word_.Load() == Outcome::kAborted,
                "a thaw after the word is ABORTED");
        break;
      case Command::kRelease:
        Require(machine_.committed() && ++releases_ == 1,
                "one release, of what was committed");
        break;
      case Command::kRollBack:
        Require(machine_.committed() && dead_ && ++roll_backs_ == 1,
                "one roll back, of what was committed, after a death");
        break;
      case Command::kKillPeer:
        Require(machine_.aborted() && ++kills_ == 1, "one kill, of an aborted");
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
      Require(!frame.has_abort() || machine_.aborted(), "Abort tells of one");
      Require(!frame.has_released() || machine_.committed(),
              "Released is of what was committed");
      Require(!frame.has_refuse() || machine_.refused(), "so is Refuse");
      next->frame.set_seq(++sent_);
      machine_.OnSent(now_);
      while (auto command = machine_.NextCommand()) Told(*command);
    }
    Require(!(machine_.committed() && machine_.aborted()), "one outcome");
    Require(!machine_.committed() || word_.Load() == Outcome::kCommitted,
            "what is committed is so by the word");
    Require(!machine_.aborted() || word_.Load() == Outcome::kAborted,
            "what is aborted is so by the word");
    Require(!machine_.committed() || releases_ == 1, "a commit releases");
    Require(!(machine_.aborted() && quiesced_) || thaws_ == 1,
            "an abort thaws");
    Require(machine_.rolled_back() == (roll_backs_ == 1), "told to roll back");
    if (machine_.aborted() || machine_.refused()) {
      Require(!machine_.why().ok(), "there is a reason");
    }
  }

  VariableWord word_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  PredecessorMachine machine_;
  std::deque<Command> tasks_;
  bool sends_ = true;
  bool reads_ = true;
  bool closed_ = false;
  bool dead_ = false;
  bool quiesced_ = false;
  int thaws_ = 0;
  int releases_ = 0;
  int roll_backs_ = 0;
  int kills_ = 0;
  uint64_t sessions_ = 0;
  uint64_t received_ = 0;
  uint64_t sent_ = 0;
};

void Run(const fuzz::Script& script) {
  const NoLeak no_leak;
  Predecessor predecessor;
  for (const fuzz::Event& event : script.events()) predecessor.Meet(event);
  predecessor.Finish();
}

}  // namespace
}  // namespace handoff

HANDOFF_FUZZER(fuzz::Script, Run)
