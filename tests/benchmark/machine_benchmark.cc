// A whole handoff between the two machines, in memory.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/driven_predecessor.h"
#include "handoff/protocol/driven_successor.h"
#include "handoff/protocol/frame.h"
#include "handoff/protocol/predecessor_machine.h"
#include "handoff/protocol/settings.h"
#include "handoff/protocol/successor_machine.h"
#include "handoff/protocol/variable_word.h"
#include "proto/handoff.pb.h"
#include "tests/benchmark/part.h"
#include "tests/benchmark/sample_sessions.h"

namespace handoff {
namespace {

constexpr size_t kStateBytes = 256;
constexpr int kSessionsPerFrame = 64;

std::vector<OutgoingFrame> MakeBatches(int sessions) {
  const std::string state(kStateBytes, 'x');
  std::vector<OutgoingFrame> batches;
  for (int first = 0; first < sessions; first += kSessionsPerFrame) {
    OutgoingFrame& batch = batches.emplace_back();
    const int count = std::min(kSessionsPerFrame, sessions - first);
    for (int i = 0; i < count; ++i) {
      FillRecord(static_cast<uint64_t>(first + i) + 1,
                 static_cast<uint32_t>(i) + 1, state,
                 *batch.frame.mutable_sessions()->add_records());
    }
    // Of which the machines only know how many there are: they are not open.
    batch.descriptors.resize(static_cast<size_t>(count));
  }
  return batches;
}

// Gives each machine's frames to the other, and does at once what each command
// asks for. The clock stands still.
class Exchange {
 public:
  explicit Exchange(const std::vector<OutgoingFrame>& batches)
      : batches_(batches),
        predecessor_(PredecessorConfig(), &word_, now_),
        successor_(DrivenSuccessor::DefaultConfig(), now_) {}

  absl::Status Run(size_t sessions) {
    while (Turn()) {
    }
    if (!predecessor_.committed() || !successor_.committed() ||
        successor_.state() != SuccessorMachine::State::kReleased ||
        successor_.inventory().sessions().size() != sessions) {
      return absl::InternalError(absl::StrCat(
          "the handoff has ended with ",
          successor_.inventory().sessions().size(), " sessions: ",
          predecessor_.why().message(), successor_.why().message()));
    }
    return absl::OkStatus();
  }

 private:
  static PredecessorMachine::Config PredecessorConfig() {
    PredecessorMachine::Config config = DrivenPredecessor::DefaultConfig();
    config.limits = Limits();
    // Not open, as those of the sessions.
    std::fill(config.offer_descriptors.begin(), config.offer_descriptors.end(),
              nullptr);
    return config;
  }

  template <typename From, typename To>
  static bool Pass(From& from, To& to, uint64_t& seq, absl::Time now) {
    OutgoingFrame* const next = from.ToSend();
    if (next == nullptr) return false;
    next->frame.set_seq(++seq);
    to.OnFrame(next->frame, std::vector<UniqueFd>(next->descriptors.size()),
               now);
    from.OnSent(now);
    return true;
  }

  bool Turn() {
    bool any = Pass(predecessor_, successor_, predecessor_seq_, now_);
    any |= Pass(successor_, predecessor_, successor_seq_, now_);
    while (const auto command = predecessor_.NextCommand()) {
      Carry(*command);
      any = true;
    }
    while (const auto command = successor_.NextCommand()) {
      Carry(*command);
      any = true;
    }
    return any;
  }

  void Carry(PredecessorMachine::Command command) {
    using Command = PredecessorMachine::Command;
    switch (command) {
      case Command::kRunRound:
        if (predecessor_.state() == PredecessorMachine::State::kFirstRound) {
          for (const OutgoingFrame& batch : batches_) {
            predecessor_.AddBatch(batch, now_);
          }
        }
        return predecessor_.OnRoundDone(now_);
      case Command::kQuiesce:
        return predecessor_.OnQuiesced(now_);
      case Command::kCut:
        return predecessor_.OnCut(1, now_);
      case Command::kRelease:
        return predecessor_.OnReleased(now_);
      default:
        return;
    }
  }

  void Carry(SuccessorMachine::Command command) {
    using Command = SuccessorMachine::Command;
    switch (command) {
      case Command::kOffered:
        return successor_.SetWord(&word_, now_);
      case Command::kStaged:
        return successor_.Ready({}, now_);
      case Command::kDecode:
        return successor_.OnDecoded(now_);
      default:
        return;
    }
  }

  const std::vector<OutgoingFrame>& batches_;
  const absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  VariableWord word_;
  PredecessorMachine predecessor_;
  SuccessorMachine successor_;
  uint64_t predecessor_seq_ = 0;
  uint64_t successor_seq_ = 0;
};

void Library(int sessions, Measure& measure) {
  const std::vector<OutgoingFrame> batches = MakeBatches(sessions);
  measure.Run([&] {
    Exchange exchange(batches);
    return exchange.Run(static_cast<size_t>(sessions));
  });
}

void Copy(int sessions, Measure& measure) {
  const std::vector<OutgoingFrame> batches = MakeBatches(sessions);
  measure.Run([&]() -> absl::Status {
    std::vector<OutgoingFrame> copies = batches;
    benchmark::DoNotOptimize(copies.data());
    return copies.size() == batches.size() ? absl::OkStatus()
                                           : absl::InternalError("no copy");
  });
}

const bool kRegistered = [] {
  for (const int sessions : {100, 1000, 10000}) {
    const Part part(
        absl::StrCat("machines: a handoff of ", sessions, " sessions with ",
                     kStateBytes, " bytes of state"),
        "session", sessions);
    part.Handoff([=](Measure& measure) { Library(sessions, measure); });
    part.Bound("a copy of the frames",
               [=](Measure& measure) { Copy(sessions, measure); });
  }
  return true;
}();

}  // namespace
}  // namespace handoff
