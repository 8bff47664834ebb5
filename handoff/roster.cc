#include "handoff/roster.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "handoff/fd/descriptor_details.h"
#include "handoff/fd/fd_description.h"
#include "handoff/moved_sessions.h"
#include "handoff/protocol/frame.h"

namespace handoff {
namespace {

v1::LedgerEntry Entry(v1::LedgerEntry::Outcome outcome, const Session& session,
                      absl::string_view reason) {
  v1::LedgerEntry entry;
  entry.set_outcome(outcome);
  entry.set_category("session");
  entry.set_name(session.type());
  entry.set_session(session.id());
  entry.set_reason(std::string(reason));
  return entry;
}

}  // namespace

// So that it and the count of its owners are one piece of memory.
struct Roster::NewSession : Session {
  NewSession(Roster* roster, uint64_t id, absl::string_view type)
      : Session(roster, id, type) {}
};

std::shared_ptr<Session> Roster::Open(int group, absl::string_view type,
                                      std::vector<NamedFd> descriptors) {
  std::shared_ptr<Session> session =
      std::make_shared<NewSession>(this, next_id_++, type);
  session->opened_at_ = absl::Now();
  session->group_ = group;
  session->descriptors_.reserve(descriptors.size());
  for (NamedFd& d : descriptors) {
    session->descriptors_.push_back(
        {std::move(d.name), std::make_shared<UniqueFd>(std::move(d.fd)),
         false});
  }
  session->changed_ = true;
  // Until here nobody else knows of it.
  std::lock_guard<std::mutex> lock(mu_);
  sessions_.emplace(session->id(), session);
  const auto it = changed_.find(group);
  if (it != changed_.end()) it->second.push_back(session);
  return session;
}

std::shared_ptr<Session> Roster::Receive(
    const StagedInventory::Arrival& arrival, uint32_t handoffs) {
  std::lock_guard<std::mutex> lock(mu_);
  std::shared_ptr<Session>& session = sessions_[arrival.id];
  if (session == nullptr) {
    session = std::make_shared<NewSession>(this, arrival.id, arrival.type);
    session->opened_at_ =
        absl::FromUnixNanos(static_cast<int64_t>(arrival.opened_at));
    session->handoffs_ = handoffs;
    // Nothing is tracked until the first round of a handoff of our own.
    session->changed_ = true;
  }
  // Usually only its state has changed.
  const auto& had = session->descriptors_;
  if (std::equal(had.begin(), had.end(), arrival.descriptors.begin(),
                 arrival.descriptors.end(),
                 [](const auto& a, const auto& b) { return a.fd == b.fd; })) {
    return session;
  }
  session->descriptors_.clear();
  session->descriptors_.reserve(arrival.descriptors.size());
  for (const StagedInventory::Arrival::Descriptor& d : arrival.descriptors) {
    session->descriptors_.push_back({d.name, d.fd});
  }
  return session;
}

void Roster::Adopt(Session& session, int group) {
  std::lock_guard<std::mutex> lock(mu_);
  session.group_ = group;
}

int Roster::GroupOf(const Session& session) const {
  std::lock_guard<std::mutex> lock(mu_);
  return session.group_;
}

void Roster::Forget(Session& session) {
  std::lock_guard<std::mutex> lock(mu_);
  session.ended_ = true;
  session.descriptors_.clear();
  sessions_.erase(session.id());
}

void Roster::EndSession(Session& session, End end) {
  if (session.ended_) return;
  for (const Session::Descriptor& d : session.descriptors_) {
    const int fd = d.fd->get();
    if (end == End::kReset) {
      // Disconnects whoever holds a duplicate (connect(2), AF_UNSPEC): RST.
      sockaddr unspecified = {};
      unspecified.sa_family = AF_UNSPEC;
      if (::connect(fd, &unspecified, sizeof(unspecified)) == 0) continue;
    }
    ::shutdown(fd, SHUT_RDWR);  // ENOTSOCK, ENOTCONN: nobody is there to tell
  }
  std::vector<Session::Descriptor> descriptors;  // closed without the lock
  decltype(copies_)::node_type copied;
  std::shared_ptr<Session> alive;
  std::function<void()> on_end;
  {
    std::lock_guard<std::mutex> lock(mu_);
    session.ended_ = true;
    descriptors.swap(session.descriptors_);
    const auto it = sessions_.find(session.id());
    if (it != sessions_.end()) {
      alive = std::move(it->second);
      sessions_.erase(it);
    }
    // Most end when nothing was sent of any: then there is nothing to look up.
    if (!copies_.empty()) copied = copies_.extract(session.id());
    // A store goes on for as long as the process: what it keeps of a session
    // ends with it.
    if (storing_) kept_.erase(session.id());
    if (!sent_.empty() && sent_.erase(session.id()) > 0) {
      closed_.push_back(session.id());
      if (!storing_) {
        ended_.push_back(Entry(v1::LedgerEntry::CLOSED, session,
                               "ended during the handoff"));
      }
    }
    on_end = on_end_;
    gone_.notify_all();
  }
  if (on_end) on_end();
}

void Roster::NoteChanged(Session& session) {
  session.changed_ = true;
  std::lock_guard<std::mutex> lock(mu_);
  const auto tracked = changed_.find(session.group_);
  const auto it = sessions_.find(session.id());
  if (tracked != changed_.end() && it != sessions_.end()) {
    tracked->second.push_back(it->second);
  }
}

void Roster::Keep(Session& session, absl::string_view reason) {
  std::lock_guard<std::mutex> lock(mu_);
  session.keep_reason_ = std::string(reason);
}

absl::Status Roster::AddDescriptor(Session& session, absl::string_view name,
                                   UniqueFd fd) {
  if (session.ended_) return absl::NotFoundError("the session has ended");
  if (absl::Status s = CheckName("session's descriptor", name); !s.ok()) {
    return s;
  }
  if (session.fd(name) >= 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("the session has a descriptor \"", name, "\""));
  }
  {
    std::lock_guard<std::mutex> lock(mu_);
    session.descriptors_.push_back(
        {std::string(name), std::make_shared<UniqueFd>(std::move(fd)), false});
  }
  session.Changed();
  return absl::OkStatus();
}

absl::Status Roster::CloseDescriptor(Session& session, absl::string_view name) {
  Session::Descriptor closed;
  {
    std::lock_guard<std::mutex> lock(mu_);
    const auto it = std::find_if(
        session.descriptors_.begin(), session.descriptors_.end(),
        [&](const Session::Descriptor& d) { return d.name == name; });
    if (it == session.descriptors_.end()) {
      return absl::NotFoundError(
          absl::StrCat("the session has no descriptor \"", name, "\""));
    }
    closed = std::move(*it);
    session.descriptors_.erase(it);
  }
  ::shutdown(closed.fd->get(), SHUT_RDWR);
  session.Changed();
  return absl::OkStatus();
}

std::vector<v1::InventoryItem> Roster::Inventory(bool details) const {
  std::vector<v1::InventoryItem> items;
  std::vector<std::vector<SharedFd>> held;  // so none is closed meanwhile
  const absl::Time now = absl::Now();
  std::vector<std::shared_ptr<Session>> sessions;
  {
    std::lock_guard<std::mutex> lock(mu_);
    sessions.reserve(sessions_.size());
    for (const auto& [id, session] : sessions_) sessions.push_back(session);
  }
  items.reserve(sessions.size());
  // One at a time: a cut needs the lock too, and must not wait for all of them.
  for (const std::shared_ptr<Session>& session : sessions) {
    std::lock_guard<std::mutex> lock(mu_);
    if (session->ended_) continue;
    v1::InventoryItem& item = items.emplace_back();
    item.set_category("session");
    item.set_name(session->type());
    item.set_session(session->id());
    item.set_age_seconds(absl::ToDoubleSeconds(now - session->opened_at()));
    item.set_handoffs(session->handoffs());
    item.set_group(session->group_);
    item.set_keep_reason(session->keep_reason_);
    held.emplace_back();
    for (const Session::Descriptor& d : session->descriptors_) {
      item.add_descriptor_names(d.name);
      held.back().push_back(d.fd);
    }
  }
  for (size_t i = 0; i < items.size(); ++i) {
    for (const SharedFd& fd : held[i]) {
      auto info = DescribeDescriptor(fd->get());
      *items[i].add_descriptors() =
          info.ok() ? *std::move(info) : v1::DescriptorInfo();
      if (details) {
        *items[i].add_details() =
            ReadDescriptorDetails(fd->get()).value_or(v1::DescriptorDetails());
      }
    }
    held[i].clear();
  }
  std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) {
    return a.session() < b.session();
  });
  return items;
}

size_t Roster::size() const {
  std::lock_guard<std::mutex> lock(mu_);
  return sessions_.size();
}

size_t Roster::descriptor_count() const {
  std::lock_guard<std::mutex> lock(mu_);
  size_t count = 0;
  for (const auto& [id, session] : sessions_) {
    count += session->descriptors_.size();
  }
  return count;
}

void Roster::SetOnEnd(std::function<void()> on_end) {
  std::lock_guard<std::mutex> lock(mu_);
  on_end_ = std::move(on_end);
}

uint64_t Roster::BeginHandoff(std::map<std::string, uint32_t> versions) {
  std::lock_guard<std::mutex> lock(mu_);
  versions_ = std::move(versions);
  refused_types_.clear();
  refused_.clear();
  sent_.clear();
  kept_.clear();
  closed_.clear();
  ended_.clear();
  storing_ = false;
  return ++handoff_;
}

uint64_t Roster::BeginStoring(std::map<std::string, uint32_t> versions) {
  BeginHandoff(std::move(versions));
  std::lock_guard<std::mutex> lock(mu_);
  storing_ = true;
  return handoff_;
}

bool Roster::AnyChanged() const {
  std::lock_guard<std::mutex> lock(mu_);
  return !closed_.empty() ||
         std::any_of(changed_.begin(), changed_.end(),
                     [](const auto& group) { return !group.second.empty(); });
}

void Roster::RefuseType(const std::string& type) {
  std::lock_guard<std::mutex> lock(mu_);
  refused_types_.insert(type);
  // All of them are to be looked at again, not only those that change.
  for (const auto& [id, session] : sessions_) {
    const auto it = changed_.find(session->group_);
    if (session->type() == type && it != changed_.end()) {
      it->second.push_back(session);
    }
  }
}

void Roster::RefuseSession(uint64_t id, const std::string& reason) {
  std::lock_guard<std::mutex> lock(mu_);
  const auto session = sessions_.find(id);
  if (session == sessions_.end()) return;
  refused_.emplace(id, reason);
  const auto it = changed_.find(session->second->group_);
  if (it != changed_.end()) it->second.push_back(session->second);
}

std::vector<std::shared_ptr<Session>> Roster::TrackGroup(int group,
                                                         uint64_t handoff) {
  std::vector<std::shared_ptr<Session>> sessions;
  std::lock_guard<std::mutex> lock(mu_);
  if (handoff != handoff_) return sessions;
  changed_[group].clear();
  for (const auto& [id, session] : sessions_) {
    if (session->group_ == group) sessions.push_back(session);
  }
  return sessions;
}

std::vector<std::shared_ptr<Session>> Roster::TakeChanged(int group,
                                                          uint64_t handoff) {
  std::lock_guard<std::mutex> lock(mu_);
  if (handoff != handoff_) return {};
  const auto it = changed_.find(group);
  if (it == changed_.end()) return {};
  return std::exchange(it->second, {});
}

void Roster::EndTracking() {
  std::map<int, std::vector<std::shared_ptr<Session>>> dropped;
  std::lock_guard<std::mutex> lock(mu_);
  ++handoff_;
  dropped.swap(changed_);
}

std::vector<uint64_t> Roster::TakeClosed() {
  std::lock_guard<std::mutex> lock(mu_);
  return std::exchange(closed_, {});
}

std::map<int, std::vector<std::shared_ptr<Session>>> Roster::Moved() const {
  std::map<int, std::vector<std::shared_ptr<Session>>> moved;
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& [id, session] : sessions_) {
    if (sent_.count(id) != 0) moved[session->group_].push_back(session);
  }
  return moved;
}

void Roster::Release(const std::vector<std::shared_ptr<Session>>& moved) {
  std::vector<std::vector<Session::Descriptor>> closed;  // without the lock
  std::lock_guard<std::mutex> lock(mu_);
  for (const std::shared_ptr<Session>& session : moved) {
    session->ended_ = true;
    session->moved_ = true;
    closed.push_back(std::exchange(session->descriptors_, {}));
    sessions_.erase(session->id());
  }
  gone_.notify_all();
}

v1::DrainedSessions Roster::Kept() const {
  v1::DrainedSessions kept;
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& [id, session] : kept_) {
    const bool ended = sessions_.count(id) == 0;
    (ended ? kept.mutable_ended() : kept.mutable_cut_off())->Add(id);
  }
  std::sort(kept.mutable_ended()->begin(), kept.mutable_ended()->end());
  std::sort(kept.mutable_cut_off()->begin(), kept.mutable_cut_off()->end());
  return kept;
}

v1::LedgerHandoff Roster::Outcomes() const {
  v1::LedgerHandoff outcomes;
  MovedIds moved;
  {
    std::lock_guard<std::mutex> lock(mu_);
    outcomes.mutable_entries()->Add(ended_.begin(), ended_.end());
    for (const auto& [id, session] : sessions_) {
      if (sent_.count(id) != 0) {
        moved.Add(session->type(), id);
      } else if (const auto it = kept_.find(id); it != kept_.end()) {
        *outcomes.add_entries() =
            Entry(it->second.refused() ? v1::LedgerEntry::REFUSED
                                       : v1::LedgerEntry::KEPT,
                  *session, it->second.reason());
      }
    }
  }
  moved.MoveTo(outcomes);
  return outcomes;
}

}  // namespace handoff
