#ifndef HANDOFF_LEDGER_H_
#define HANDOFF_LEDGER_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "google/protobuf/any.pb.h"
#include "proto/handoff.pb.h"

namespace handoff {

// The name of the blob in which the ledger itself is handed over. Names that
// begin with "handoff." are the library's.
inline constexpr char kLedgerBlob[] = "handoff.ledger";

// One more thing, and what became of it.
void AddEntry(v1::LedgerHandoff& handoff, v1::LedgerEntry::Outcome outcome,
              absl::string_view category, absl::string_view name,
              uint64_t session, absl::string_view reason);
// Sets the counts by the entries and the sessions that moved.
void CountEntries(v1::LedgerHandoff& handoff);

// Appends `drained` to `parts`, each small enough for one frame.
void SplitDrained(const v1::DrainedSessions& drained,
                  std::vector<v1::DrainedSessions>& parts);

// What became of everything in the last handoffs. Bounded: the oldest handoffs
// lose their entries first (their counts stay), then go. Thread-safe.
//
// Sessions that moved are held as runs of ids (moved_sessions.h), so that a
// handoff costs the same however many moved in those before.
class LedgerBook {
 public:
  static constexpr int kMaxHandoffs = 32;
  // As Get() has them, so with one for each session that moved: in runs they
  // would need next to no room, but whoever reads the ledger gets them all.
  static constexpr size_t kMaxEntries = 100'000;

  // What the predecessor had. Runs that make no sense are left out.
  void Inherit(v1::Ledger ledger);
  // Counts the entries by outcome, and appends. Replaces one of the same id.
  void Add(v1::LedgerHandoff handoff);
  void AddBlackout(uint64_t handoff_id, uint64_t sessions, double milliseconds);

  // A predecessor has drained: sessions that the ledger calls kept or refused in
  // that handoff become drained. Anything else is ignored.
  void Amend(const v1::DrainedSessions& drained);

  // With entries alone.
  v1::Ledger Get() const;
  // A v1::Ledger with runs, for a successor. What comes after it by Amend() is
  // noted: the successor would not know.
  google::protobuf::Any HandOver();
  // What was noted since, split for frames.
  std::vector<v1::DrainedSessions> TakeAmendments();
  // Without their entries.
  absl::optional<v1::LedgerHandoff> Last() const;
  v1::Ledger Summaries() const;

 private:
  void Trim();

  mutable std::mutex mu_;
  v1::Ledger ledger_;
  // Since the last HandOver(), by handoff: what was not drained before.
  std::map<uint64_t, v1::DrainedSessions> amendments_;
};

}  // namespace handoff

#endif  // HANDOFF_LEDGER_H_
