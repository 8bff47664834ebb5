#include "handoff/ledger.h"

#include <algorithm>
#include <string>
#include <utility>

namespace handoff {

void AddEntry(v1::LedgerHandoff& handoff, v1::LedgerEntry::Outcome outcome,
              absl::string_view category, absl::string_view name,
              uint64_t session, absl::string_view reason) {
  v1::LedgerEntry* entry = handoff.add_entries();
  entry->set_outcome(outcome);
  entry->set_category(std::string(category));
  entry->set_name(std::string(name));
  entry->set_session(session);
  entry->set_reason(std::string(reason));
}

void CountEntries(v1::LedgerHandoff& handoff) {
  uint64_t counts[v1::LedgerEntry::Outcome_ARRAYSIZE] = {};
  for (const v1::LedgerEntry& entry : handoff.entries()) {
    if (v1::LedgerEntry::Outcome_IsValid(entry.outcome())) {
      ++counts[entry.outcome()];
    }
  }
  handoff.set_moved(counts[v1::LedgerEntry::MOVED]);
  handoff.set_kept(counts[v1::LedgerEntry::KEPT]);
  handoff.set_drained(counts[v1::LedgerEntry::DRAINED]);
  handoff.set_refused(counts[v1::LedgerEntry::REFUSED]);
  handoff.set_closed(counts[v1::LedgerEntry::CLOSED]);
  handoff.set_lost(counts[v1::LedgerEntry::LOST]);
}

void LedgerBook::Inherit(const v1::Ledger& ledger) {
  std::lock_guard<std::mutex> lock(mu_);
  ledger_ = ledger;
  Trim();
}

void LedgerBook::Add(v1::LedgerHandoff handoff) {
  CountEntries(handoff);
  std::lock_guard<std::mutex> lock(mu_);
  auto& handoffs = *ledger_.mutable_handoffs();
  const auto old = std::find_if(
      handoffs.begin(), handoffs.end(), [&](const v1::LedgerHandoff& h) {
        return h.handoff_id() == handoff.handoff_id();
      });
  (old == handoffs.end() ? *handoffs.Add() : *old) = std::move(handoff);
  Trim();
}

void LedgerBook::AddBlackout(uint64_t handoff_id, uint64_t sessions,
                             double milliseconds) {
  std::lock_guard<std::mutex> lock(mu_);
  for (v1::LedgerHandoff& handoff : *ledger_.mutable_handoffs()) {
    if (handoff.handoff_id() != handoff_id) continue;
    v1::Blackout* blackout = handoff.add_blackouts();
    blackout->set_sessions(sessions);
    blackout->set_milliseconds(milliseconds);
  }
}

v1::Ledger LedgerBook::Get() const {
  std::lock_guard<std::mutex> lock(mu_);
  return ledger_;
}

absl::optional<v1::LedgerHandoff> LedgerBook::Last() const {
  std::lock_guard<std::mutex> lock(mu_);
  if (ledger_.handoffs().empty()) return absl::nullopt;
  const v1::LedgerHandoff& last = ledger_.handoffs(ledger_.handoffs_size() - 1);
  v1::LedgerHandoff summary;
  summary.set_handoff_id(last.handoff_id());
  summary.set_result(last.result());
  summary.set_reason(last.reason());
  summary.set_predecessor_pid(last.predecessor_pid());
  summary.set_successor_pid(last.successor_pid());
  summary.set_generation(last.generation());
  summary.set_started_at(last.started_at());
  summary.set_seconds(last.seconds());
  *summary.mutable_blackouts() = last.blackouts();
  summary.set_moved(last.moved());
  summary.set_kept(last.kept());
  summary.set_drained(last.drained());
  summary.set_refused(last.refused());
  summary.set_closed(last.closed());
  summary.set_lost(last.lost());
  return summary;
}

void LedgerBook::Trim() {
  auto& handoffs = *ledger_.mutable_handoffs();
  if (handoffs.size() > kMaxHandoffs) {
    handoffs.DeleteSubrange(0, handoffs.size() - kMaxHandoffs);
  }
  size_t entries = 0;
  for (int i = handoffs.size() - 1; i >= 0; --i) {
    const size_t room = kMaxEntries - entries;
    auto& kept = *handoffs[i].mutable_entries();
    if (static_cast<size_t>(kept.size()) > room) {
      // The last handoff keeps what there is room for, older ones all or none.
      const int keep = i + 1 == handoffs.size() ? static_cast<int>(room) : 0;
      kept.DeleteSubrange(keep, kept.size() - keep);
    }
    entries += static_cast<size_t>(kept.size());
  }
}

}  // namespace handoff
