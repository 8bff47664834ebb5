#include "handoff/protocol/changing_sessions.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

constexpr uint64_t kSessionsAtFirst = 6;
constexpr uint64_t kSessionsEver = 12;
constexpr size_t kSessionsAtLeast = 3;

// Every fifth session cannot move, which shows when it has changed a few times
// and may have been sent.
bool CannotMove(uint64_t id, uint64_t version) {
  return id % 5 == 0 && version > 2;
}

// Every third version of a state is large.
bool IsLarge(uint64_t version) { return version % 3 == 0; }

}  // namespace

ChangingSessions::ChangingSessions() {
  while (next_id_ <= kSessionsAtFirst) Open();
}

void ChangingSessions::Open() {
  sessions_[next_id_].fd = SharedNumberedFd(next_id_);
  ++next_id_;
}

void ChangingSessions::Live() {
  ++lived_;
  if (lived_ % 7 == 0 && next_id_ <= kSessionsEver) Open();
  if (lived_ % 11 == 0 && sessions_.size() > kSessionsAtLeast) {
    const auto ends = std::prev(sessions_.end(), 2);
    if (ends->second.sent_version != 0 && kept_.count(ends->first) == 0) {
      closed_.push_back(ends->first);
    }
    sessions_.erase(ends);
  }
  ++std::next(sessions_.begin(), lived_ % sessions_.size())->second.version;
}

std::deque<uint64_t> ChangingSessions::Ids() const {
  std::deque<uint64_t> ids;
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  return ids;
}

void ChangingSessions::AddTo(OutgoingFrame& batch, uint64_t id,
                             const v1::Ready& ready) {
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
    const uint64_t version = s.state_memfd != nullptr
                                 ? NumberOf(s.state_memfd->get())
                                 : std::stoull(s.record.state().value());
    if (version != session.version) {
      return absl::StrCat("session ", id, " moved in version ", version,
                          ", its last was ", session.version);
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
