#include "handoff/ledger.h"

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/moved_sessions.h"
#include "handoff/protocol/frame.h"

namespace handoff {
namespace {

// Some 40 KiB: a frame has room for three times as many.
constexpr int kMaxDrainedInFrame = 5000;

using Ids = google::protobuf::RepeatedField<uint64_t>;

void SplitIds(uint64_t handoff_id, const Ids& ids,
              Ids* (v1::DrainedSessions::*field)(),
              std::vector<v1::DrainedSessions>& parts) {
  for (int i = 0; i < ids.size(); ++i) {
    if (i % kMaxDrainedInFrame == 0) {
      parts.emplace_back().set_handoff_id(handoff_id);
    }
    (parts.back().*field)()->Add(ids[i]);
  }
}

// What somebody else has written down may claim anything: each of these turns
// into an entry with the type's name.
void DropSenseless(v1::LedgerHandoff& handoff) {
  auto& moved = *handoff.mutable_moved_sessions();
  moved.erase(std::remove_if(moved.begin(), moved.end(),
                             [](const v1::MovedSessions& sessions) {
                               return CountMoved(sessions).value_or(0) == 0 ||
                                      !CheckName("type", sessions.type()).ok();
                             }),
              moved.end());
}

// Entries, as Get() has them; the greatest number where they are more.
uint64_t Size(const v1::LedgerHandoff& handoff) {
  uint64_t size = static_cast<uint64_t>(handoff.entries_size());
  for (const v1::MovedSessions& moved : handoff.moved_sessions()) {
    const uint64_t more = CountMoved(moved).value_or(0);
    size += std::min(more, std::numeric_limits<uint64_t>::max() - size);
  }
  return size;
}

// Leaves the first `most` entries, and of the sessions that moved what there is
// room for beside them.
void Shorten(v1::LedgerHandoff& handoff, uint64_t most) {
  auto& entries = *handoff.mutable_entries();
  if (static_cast<uint64_t>(entries.size()) > most) {
    const int keep = static_cast<int>(most);
    entries.DeleteSubrange(keep, entries.size() - keep);
  }
  most -= static_cast<uint64_t>(entries.size());
  auto& moved = *handoff.mutable_moved_sessions();
  int kept = 0;
  while (kept < moved.size() && most > 0) {
    KeepFirst(moved[kept], most);
    most -= CountMoved(moved[kept++]).value_or(0);
  }
  moved.DeleteSubrange(kept, moved.size() - kept);
}

// All but the entries, of which there may be very many.
v1::LedgerHandoff Summary(const v1::LedgerHandoff& handoff) {
  v1::LedgerHandoff summary;
  summary.set_handoff_id(handoff.handoff_id());
  summary.set_result(handoff.result());
  summary.set_reason(handoff.reason());
  summary.set_predecessor_pid(handoff.predecessor_pid());
  summary.set_successor_pid(handoff.successor_pid());
  summary.set_generation(handoff.generation());
  summary.set_started_at(handoff.started_at());
  summary.set_seconds(handoff.seconds());
  *summary.mutable_blackouts() = handoff.blackouts();
  *summary.mutable_phases() = handoff.phases();
  summary.set_moved(handoff.moved());
  summary.set_kept(handoff.kept());
  summary.set_drained(handoff.drained());
  summary.set_refused(handoff.refused());
  summary.set_closed(handoff.closed());
  summary.set_lost(handoff.lost());
  return summary;
}

}  // namespace

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
  for (const v1::MovedSessions& moved : handoff.moved_sessions()) {
    counts[v1::LedgerEntry::MOVED] += CountMoved(moved).value_or(0);
  }
  handoff.set_moved(counts[v1::LedgerEntry::MOVED]);
  handoff.set_kept(counts[v1::LedgerEntry::KEPT]);
  handoff.set_drained(counts[v1::LedgerEntry::DRAINED]);
  handoff.set_refused(counts[v1::LedgerEntry::REFUSED]);
  handoff.set_closed(counts[v1::LedgerEntry::CLOSED]);
  handoff.set_lost(counts[v1::LedgerEntry::LOST]);
}

void SplitDrained(const v1::DrainedSessions& drained,
                  std::vector<v1::DrainedSessions>& parts) {
  SplitIds(drained.handoff_id(), drained.ended(),
           &v1::DrainedSessions::mutable_ended, parts);
  SplitIds(drained.handoff_id(), drained.cut_off(),
           &v1::DrainedSessions::mutable_cut_off, parts);
}

void LedgerBook::Inherit(v1::Ledger ledger) {
  for (v1::LedgerHandoff& handoff : *ledger.mutable_handoffs()) {
    DropSenseless(handoff);
  }
  std::lock_guard<std::mutex> lock(mu_);
  ledger_ = std::move(ledger);
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

void LedgerBook::Amend(const v1::DrainedSessions& drained) {
  const std::unordered_set<uint64_t> ended(drained.ended().begin(),
                                           drained.ended().end());
  const std::unordered_set<uint64_t> cut_off(drained.cut_off().begin(),
                                             drained.cut_off().end());
  std::lock_guard<std::mutex> lock(mu_);
  const auto handoff = std::find_if(
      ledger_.mutable_handoffs()->begin(), ledger_.mutable_handoffs()->end(),
      [&](const auto& h) { return h.handoff_id() == drained.handoff_id(); });
  if (handoff == ledger_.mutable_handoffs()->end()) return;
  uint64_t kept = 0;
  uint64_t refused = 0;
  for (v1::LedgerEntry& entry : *handoff->mutable_entries()) {
    const bool by_itself = ended.count(entry.session()) != 0;
    if (entry.category() != "session" ||
        (!by_itself && cut_off.count(entry.session()) == 0)) {
      continue;
    }
    if (entry.outcome() == v1::LedgerEntry::KEPT) {
      ++kept;
    } else if (entry.outcome() == v1::LedgerEntry::REFUSED) {
      ++refused;
    } else {
      continue;
    }
    entry.set_outcome(v1::LedgerEntry::DRAINED);
    absl::StrAppend(entry.mutable_reason(),
                    entry.reason().empty() ? "" : "; ",
                    by_itself ? "ended" : "cut off at the end of the process");
    v1::DrainedSessions& amendment = amendments_[drained.handoff_id()];
    amendment.set_handoff_id(drained.handoff_id());
    (by_itself ? amendment.mutable_ended() : amendment.mutable_cut_off())
        ->Add(entry.session());
  }
  // Not by counting: some of the entries may be gone, and only counts be left.
  handoff->set_kept(handoff->kept() - kept);
  handoff->set_refused(handoff->refused() - refused);
  handoff->set_drained(handoff->drained() + kept + refused);
}

google::protobuf::Any LedgerBook::HandOver() {
  google::protobuf::Any packed;
  std::lock_guard<std::mutex> lock(mu_);
  amendments_.clear();
  packed.PackFrom(ledger_);
  return packed;
}

std::vector<v1::DrainedSessions> LedgerBook::TakeAmendments() {
  std::lock_guard<std::mutex> lock(mu_);
  std::vector<v1::DrainedSessions> parts;
  for (const auto& [id, drained] : amendments_) SplitDrained(drained, parts);
  amendments_.clear();
  return parts;
}

v1::Ledger LedgerBook::Get() const {
  v1::Ledger ledger;
  {
    std::lock_guard<std::mutex> lock(mu_);
    ledger = ledger_;
  }
  for (v1::LedgerHandoff& handoff : *ledger.mutable_handoffs()) {
    ExpandMoved(handoff);
  }
  return ledger;
}

absl::optional<v1::LedgerHandoff> LedgerBook::Last() const {
  std::lock_guard<std::mutex> lock(mu_);
  if (ledger_.handoffs().empty()) return absl::nullopt;
  return Summary(ledger_.handoffs(ledger_.handoffs_size() - 1));
}

v1::Ledger LedgerBook::Summaries() const {
  std::lock_guard<std::mutex> lock(mu_);
  v1::Ledger summaries;
  for (const v1::LedgerHandoff& handoff : ledger_.handoffs()) {
    *summaries.add_handoffs() = Summary(handoff);
  }
  return summaries;
}

void LedgerBook::Trim() {
  auto& handoffs = *ledger_.mutable_handoffs();
  if (handoffs.size() > kMaxHandoffs) {
    handoffs.DeleteSubrange(0, handoffs.size() - kMaxHandoffs);
  }
  uint64_t room = kMaxEntries;
  for (int i = handoffs.size() - 1; i >= 0; --i) {
    uint64_t size = Size(handoffs[i]);
    if (size > room) {
      // The last handoff keeps what there is room for, older ones all or none.
      size = i + 1 == handoffs.size() ? room : 0;
      Shorten(handoffs[i], size);
    }
    room -= size;
  }
}

}  // namespace handoff
