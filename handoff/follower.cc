#include "handoff/follower.h"

#include <cstddef>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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
    begun_.push_back(status.handoff().handoff_id());
  }
}

absl::optional<v1::HandoffProgress> Follower::Step(absl::Time deadline) {
  control_.events().WaitFor(after_, deadline);
  ReadEvents();
  if (quiet_) return absl::nullopt;
  status_ = control_.GetStatus();
  FindResult();
  if (!status_.has_handoff()) return absl::nullopt;
  const v1::HandoffProgress& progress = status_.handoff();
  const absl::Time now = absl::Now();
  if (now - told_at_ < kBetween) return absl::nullopt;
  std::string text = progress.SerializeAsString();
  if (text == told_) return absl::nullopt;
  told_ = std::move(text);
  told_at_ = now;
  return progress;
}

void Follower::FindResult() {
  while (!result_.has_value() && !begun_.empty()) {
    absl::optional<v1::LedgerHandoff> found;
    if (status_.last_handoff().handoff_id() == begun_.front()) {
      found = status_.last_handoff();
    } else if (begun_.size() > 1) {  // it has ended, and is not the last
      const v1::Ledger ledger = control_.GetLedger();
      for (const v1::LedgerHandoff& handoff : ledger.handoffs()) {
        if (handoff.handoff_id() == begun_.front()) found = handoff;
      }
    }
    if (!found.has_value() && begun_.size() == 1) return;
    begun_.pop_front();
    // Of what is no longer in the ledger nobody can tell.
    if (!found.has_value() || found->result() == "rehearsed") continue;
    found->clear_entries();
    if (child_ != 0 && found->successor_pid() != child_) {
      absl::StrAppend(found->mutable_reason(),
                      found->reason().empty() ? "" : "; ", "not to pid ",
                      child_, ", which was started for it");
    }
    result_ = *std::move(found);
  }
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
  if (kind == "handoff-begun") {
    // The child's is ours, whoever else was there before.
    if (child_ != 0 &&
        absl::StartsWith(event.text(), absl::StrCat("to pid ", child_, ","))) {
      begun_.clear();
    }
    if (begun_.empty() || begun_.back() != event.handoff_id()) {
      begun_.push_back(event.handoff_id());
    }
  }
  if (kind == "quiescing") quiet_ = true;
  if (kind == "released" || kind == "aborted" || kind == "rolled-back" ||
      kind == "watch-ended") {
    quiet_ = false;
  }
  // Not of one that was started before.
  if (kind == "child-ended" && child_ != 0 &&
      absl::StartsWith(event.text(), absl::StrCat("pid ", child_, " "))) {
    child_ended_ = event.text();
  }
}

}  // namespace handoff
