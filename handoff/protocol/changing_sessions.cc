#include "handoff/protocol/changing_sessions.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

constexpr size_t kSessionsAtLeast = 3;

// Every fifth session cannot move, which shows when it has changed a few times
// and may have been sent.
bool CannotMove(uint64_t id, uint64_t version) {
  return id % 5 == 0 && version > 2;
}

// Every third version of a state is large.
bool IsLarge(uint64_t version) { return version % 3 == 0; }

// What a session of `version` has read and not consumed.
std::string InputOf(uint64_t version) {
  std::string input;
  for (uint64_t n = version - version % 4; n < version;) {
    input += static_cast<char>(++n);
  }
  return input;
}

uint64_t VersionOf(const StagedInventory::Session& session) {
  return session.state_memfd != nullptr
             ? NumberOf(session.state_memfd->get())
             : std::stoull(session.record.state().value());
}

}  // namespace

ChangingSessions::ChangingSessions(uint64_t sessions_at_first)
    : sessions_ever_(2 * sessions_at_first) {
  while (next_id_ <= sessions_at_first) Open();
}

void ChangingSessions::Open() {
  sessions_[next_id_].fd = SharedNumberedFd(next_id_);
  read_[next_id_] = 1;
  ++next_id_;
}

void ChangingSessions::Read(uint64_t id, uint64_t& version) {
  const uint64_t next = ++read_[id];
  if (++version != next && fault_.empty()) {
    fault_ = absl::StrCat("session ", id, " expects number ", version,
                          " and reads ", next);
  }
}

void ChangingSessions::LiveAtSuccessor() {
  if (taken_.empty()) return;
  const auto some = std::next(taken_.begin(), ++lived_ % taken_.size());
  Read(some->first, some->second);
}

void ChangingSessions::TakeAll(StagedInventory& inventory) {
  for (const auto& [id, session] : inventory.sessions()) {
    taken_[id] = VersionOf(session);
  }
}

void ChangingSessions::TakeUntouched(StagedInventory& inventory) {
  for (const auto& [id, session] : inventory.sessions()) {
    const auto read = read_.find(id);
    const v1::SessionRecord& record = session.record;
    if (read == read_.end() ||
        (!record.frozen() &&
         record.descriptors(0).counters().consumed() != read->second)) {
      continue;
    }
    taken_[id] = VersionOf(session);
    const auto left = sessions_.find(id);
    if (left == sessions_.end() || left->second.version != taken_[id]) {
      fault_ = absl::StrCat("session ", id, " is adopted in version ",
                            taken_[id], ", its last was another");
    }
  }
}

void ChangingSessions::Live() {
  ++lived_;
  if (lived_ % 7 == 0 && next_id_ <= sessions_ever_) Open();
  if (lived_ % 11 == 0 && sessions_.size() > kSessionsAtLeast) {
    const auto ends = std::prev(sessions_.end(), 2);
    if (ends->second.sent_version != 0 && kept_.count(ends->first) == 0) {
      closed_.push_back(ends->first);
    }
    ++read_[ends->first];  // its FIN
    sessions_.erase(ends);
  }
  const auto some = std::next(sessions_.begin(), lived_ % sessions_.size());
  Read(some->first, some->second.version);
}

std::deque<uint64_t> ChangingSessions::Ids() const {
  std::deque<uint64_t> ids;
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  return ids;
}

void ChangingSessions::AddTo(OutgoingFrame& batch, uint64_t id,
                             const v1::Ready& ready, bool frozen) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end() || kept_.count(id) != 0) return;
  Session& session = it->second;
  bool keep = CannotMove(id, session.version);
  for (const auto& refused : ready.refused()) keep |= refused.id() == id;
  if (keep) {
    kept_.insert(id);
    v1::KeptSession* kept = batch.frame.mutable_sessions()->add_kept();
    kept->set_id(id);
    kept->set_type("chat");
    return;
  }
  if (session.sent_version == session.version) return;
  v1::SessionRecord* record = batch.frame.mutable_sessions()->add_records();
  record->set_id(id);
  record->set_type("chat");
  v1::SessionDescriptor* client = record->add_descriptors();
  client->set_name("client");
  client->set_input(InputOf(session.version));
  record->set_frozen(frozen);
  if (!frozen) client->mutable_counters()->set_consumed(session.version);
  if (session.sent_version == 0) {
    batch.descriptors.push_back(session.fd);
    client->set_sent_in(static_cast<uint32_t>(batch.descriptors.size()));
  }
  if (IsLarge(session.version)) {
    batch.descriptors.push_back(SharedNumberedFd(session.version));
    record->set_state_in(static_cast<uint32_t>(batch.descriptors.size()));
  } else {
    record->mutable_state()->set_value(std::to_string(session.version));
  }
  session.sent_version = session.version;
  ever_sent_.insert(id);
}

void ChangingSessions::AddClosedTo(OutgoingFrame& batch) {
  for (const uint64_t id : std::exchange(closed_, {})) {
    batch.frame.mutable_sessions()->add_closed(id);
  }
}

std::string ChangingSessions::Difference(StagedInventory& inventory) const {
  for (const auto& [id, session] : sessions_) {
    if (kept_.count(id) != 0) continue;
    const auto moved = inventory.sessions().find(id);
    if (moved == inventory.sessions().end()) {
      return absl::StrCat("session ", id, " has not moved");
    }
    const StagedInventory::Session& s = moved->second;
    const uint64_t version = VersionOf(s);
    if (version != session.version) {
      return absl::StrCat("session ", id, " moved in version ", version,
                          ", its last was ", session.version);
    }
    if (s.record.descriptors(0).input() != InputOf(version)) {
      return absl::StrCat("session ", id, " has other input than it read");
    }
    if (s.descriptors.size() != 1 || NumberOf(s.descriptors[0]->get()) != id) {
      return absl::StrCat("session ", id, " has another's descriptor");
    }
  }
  for (const auto& [id, session] : inventory.sessions()) {
    if (sessions_.count(id) == 0 || kept_.count(id) != 0) {
      return absl::StrCat("session ", id, " moved but had ended or was kept");
    }
  }
  for (const uint64_t id : ever_sent_) {
    const size_t accounts = inventory.sessions().count(id) +
                            inventory.kept().count(id) +
                            inventory.closed().count(id);
    if (accounts != 1) {
      return absl::StrCat("session ", id, " was sent and is accounted for ",
                          accounts, " times");
    }
  }
  return "";
}

}  // namespace handoff
