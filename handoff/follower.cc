#include "handoff/follower.h"

#include <cstddef>
#include <utility>

#include "absl/time/clock.h"

namespace handoff {
namespace {

constexpr absl::Duration kBetween = absl::Milliseconds(100);
constexpr size_t kReadAtOnce = 64;

}  // namespace

Follower::Follower(Control& control, bool under_way)
    : control_(control), after_(control.events().last()) {
  if (!under_way) return;
  const v1::Status status = control.GetStatus();
  if (status.has_handoff() && !status.handoff().rehearsal() &&
      status.handoff().phase() != "watch") {
    id_ = status.handoff().handoff_id();
  }
}

void Follower::Forget() {
  id_ = 0;
  rehearsal_ = false;
}

absl::optional<v1::HandoffProgress> Follower::Step(absl::Time deadline) {
  control_.events().WaitFor(after_, deadline);
  ReadEvents();
  if (quiet_) return absl::nullopt;
  status_ = control_.GetStatus();
  if (!status_.has_handoff()) return absl::nullopt;
  const v1::HandoffProgress& progress = status_.handoff();
  if (progress.handoff_id() == id_ && progress.rehearsal()) rehearsal_ = true;
  const absl::Time now = absl::Now();
  if (now - told_at_ < kBetween) return absl::nullopt;
  std::string text = progress.SerializeAsString();
  if (text == told_) return absl::nullopt;
  told_ = std::move(text);
  told_at_ = now;
  return progress;
}

const v1::LedgerHandoff* Follower::Result() const {
  if (quiet_ || id_ == 0 || !status_.has_last_handoff()) return nullptr;
  const v1::LedgerHandoff& last = status_.last_handoff();
  return last.handoff_id() == id_ ? &last : nullptr;
}

void Follower::ReadEvents() {
  while (true) {
    const EventLog::Batch batch = control_.events().Read(after_, kReadAtOnce);
    if (batch.events.empty()) return;
    for (const v1::EventRecord& event : batch.events) Note(event);
    after_ = batch.events.back().sequence();
  }
}

void Follower::Note(const v1::EventRecord& event) {
  const std::string& kind = event.kind();
  if (kind == "handoff-begun" && id_ == 0) id_ = event.handoff_id();
  if (kind == "quiescing") quiet_ = true;
  if (kind == "released" || kind == "aborted" || kind == "rolled-back" ||
      kind == "watch-ended") {
    quiet_ = false;
  }
  if (kind == "child-ended" && id_ == 0) child_ended_ = event.text();
}

}  // namespace handoff
