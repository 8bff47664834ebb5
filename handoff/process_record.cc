// What a process that took over writes into its ledger.

#include <unistd.h>

#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "handoff/moved_sessions.h"
#include "handoff/process.h"
#include "handoff/staged_state.h"

namespace handoff {

void Process::AdoptUntouched() {
  for (auto it = taken_.begin(); it != taken_.end();) {
    const auto staged = taking_->inventory().sessions().find(it->first);
    if (staged != taking_->inventory().sessions().end() &&
        Untouched(staged->second)) {
      ++it;
      continue;
    }
    lost_[it->first] = it->second.session->type();
    Drop(it->second);
    taken_.erase(it++);
  }
}

void Process::AddTaken(v1::LedgerHandoff& handoff) {
  StagedInventory& inventory = *inherited();
  for (size_t i = 0; i < inventory.named().size(); ++i) {
    const StagedInventory::Named& named = inventory.named()[i];
    const bool claimed = descriptors_.claimed(i);
    AddEntry(handoff,
             claimed ? v1::LedgerEntry::MOVED : v1::LedgerEntry::REFUSED,
             CategoryOf(named.role), named.name, 0,
             claimed ? "" : "not claimed by the successor");
  }
  for (const auto& [name, blob] : inventory.blobs()) {
    if (absl::StartsWith(name, "handoff.")) continue;  // the library's
    const bool taken = blob_restorers_.count(name) != 0;
    AddEntry(handoff, taken ? v1::LedgerEntry::MOVED : v1::LedgerEntry::REFUSED,
             "blob", name, 0, taken ? "" : "not claimed by the successor");
  }
  MovedIds moved;
  for (const auto& [session, taken] : taken_) {
    moved.Add(taken.session->type(), session);
  }
  moved.MoveTo(handoff);
}

void Process::RecordTaking() {
  StagedInventory& inventory = taking_->inventory();
  v1::LedgerHandoff handoff;
  const uint64_t id = taking_->offer().handoff_id();
  handoff.set_handoff_id(id);
  handoff.set_result("committed");
  if (taking_->adopted()) {
    handoff.set_reason("the predecessor died; adopted what nobody had touched");
  }
  handoff.set_predecessor_pid(taking_->predecessor());
  handoff.set_successor_pid(::getpid());
  handoff.set_generation(generation_);
  handoff.set_started_at(
      static_cast<uint64_t>(absl::ToUnixNanos(taking_->offered_at())));
  handoff.set_seconds(
      absl::ToDoubleSeconds(absl::Now() - taking_->offered_at()));
  taking_->phases().AddTo(handoff);
  AddTaken(handoff);
  for (const auto& [session, taken] : taken_) {
    ++taken_by_group_[roster_.GroupOf(*taken.session)];
  }
  for (const auto& [session, kept] : inventory.kept()) {
    if (taking_->adopted()) {
      lost_[session] = kept.type();  // with the process that kept it
      continue;
    }
    AddEntry(handoff,
             kept.refused() ? v1::LedgerEntry::REFUSED : v1::LedgerEntry::KEPT,
             "session", kept.type(), session, kept.reason());
  }
  for (const uint64_t session : inventory.closed()) {
    AddEntry(handoff, v1::LedgerEntry::CLOSED, "session", "", session,
             "ended during the handoff");
  }
  if (taking_->adopted()) {
    for (const auto& [session, staged] : inventory.sessions()) {
      if (taken_.count(session) == 0) lost_[session] = staged.record.type();
    }
  }
  for (const auto& [session, type] : lost_) {
    AddEntry(
        handoff, v1::LedgerEntry::LOST, "session", type, session,
        "the predecessor died, and it was touched since it was sent, kept or "
        "refused");
  }
  ledger_.Add(std::move(handoff));
  taken_handoff_ = id;
  cut_at_ = taking_->cut_at();
  inventory.named().clear();
  inventory.sessions().clear();
  inventory.blobs().clear();
  taken_.clear();
}

void Process::RecordBlackouts() {
  std::vector<std::pair<int, uint64_t>> polls;
  {
    std::lock_guard<std::mutex> lock(mu_);
    polls.swap(first_polls_);
  }
  for (const auto& [group, at] : polls) {
    const auto sessions = taken_by_group_.find(group);
    // Adopted sessions were never cut.
    if (sessions == taken_by_group_.end() || cut_at_ == 0) continue;
    ledger_.AddBlackout(taken_handoff_, sessions->second,
                        static_cast<double>(at - cut_at_) / 1e6);
  }
}

}  // namespace handoff
