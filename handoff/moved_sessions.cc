#include "handoff/moved_sessions.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/functional/function_ref.h"
#include "handoff/ledger.h"

namespace handoff {
namespace {

constexpr uint64_t kLastId = std::numeric_limits<uint64_t>::max();

// Calls `visit` for each run with its first id and how many more there are.
// False where one makes no sense, after those before it.
bool VisitRuns(const v1::MovedSessions& moved,
               absl::FunctionRef<void(uint64_t, uint64_t)> visit) {
  const auto& runs = moved.runs();
  uint64_t last = 0;
  for (int i = 0; i + 1 < runs.size(); i += 2) {
    const uint64_t step = runs[i];
    const uint64_t more = runs[i + 1];
    if (step == 0 || step > kLastId - last) return false;
    const uint64_t first = last + step;
    if (more > kLastId - first) return false;
    last = first + more;
    visit(first, more);
  }
  return runs.size() % 2 == 0;
}

}  // namespace

void MovedIds::Add(absl::string_view type, uint64_t session) {
  if (last_ == ids_.end() || last_->first != type) {
    last_ = ids_.find(type);
    if (last_ == ids_.end()) last_ = ids_.emplace(type, 0).first;
  }
  last_->second.push_back(session);
}

void MovedIds::MoveTo(v1::LedgerHandoff& handoff) {
  for (auto& [type, ids] : ids_) {
    std::sort(ids.begin(), ids.end());
    v1::MovedSessions& moved = *handoff.add_moved_sessions();
    moved.set_type(type);
    auto& runs = *moved.mutable_runs();
    uint64_t last = 0;
    for (const uint64_t id : ids) {
      if (id == last) continue;  // again; no session has the id 0
      if (id == last + 1 && !runs.empty()) {
        ++runs[runs.size() - 1];
      } else {
        runs.Add(id - last);
        runs.Add(0);
      }
      last = id;
    }
  }
  ids_.clear();
  last_ = ids_.end();
}

absl::optional<uint64_t> CountMoved(const v1::MovedSessions& moved) {
  // The runs of one message have no id in common: the sum is no more than the
  // greatest id.
  uint64_t count = 0;
  if (!VisitRuns(moved, [&](uint64_t, uint64_t more) { count += more + 1; })) {
    return absl::nullopt;
  }
  return count;
}

void KeepFirst(v1::MovedSessions& moved, uint64_t most) {
  auto& runs = *moved.mutable_runs();
  for (int i = 0; i + 1 < runs.size(); i += 2) {
    if (most == 0) return runs.Truncate(i);
    runs[i + 1] = std::min(runs[i + 1], most - 1);
    most -= runs[i + 1] + 1;
  }
}

void ExpandMoved(v1::LedgerHandoff& handoff) {
  const auto moved = std::move(*handoff.mutable_moved_sessions());
  handoff.clear_moved_sessions();
  for (const v1::MovedSessions& sessions : moved) {
    VisitRuns(sessions, [&](uint64_t first, uint64_t more) {
      for (uint64_t i = 0; i <= more; ++i) {
        AddEntry(handoff, v1::LedgerEntry::MOVED, "session", sessions.type(),
                 first + i, "");
      }
    });
  }
}

}  // namespace handoff
