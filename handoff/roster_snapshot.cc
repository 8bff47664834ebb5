// What is sent of a session.

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "handoff/fd/fd_description.h"
#include "handoff/protocol/frame.h"
#include "handoff/protocol/settings.h"
#include "handoff/roster.h"
#include "handoff/staged_state.h"

namespace handoff {
namespace {

// What is sent of a descriptor beside it. Of a connection, the cookie is asked
// for once in its life.
absl::StatusOr<v1::DescriptorInfo> InfoOf(int fd, bool is_tcp,
                                          uint64_t& cookie) {
  if (!is_tcp) {
    absl::StatusOr<v1::DescriptorInfo> info = DescribeDescriptor(fd);
    const absl::Status passable =
        info.ok() ? CheckPassable(info->kind()) : info.status();
    return passable.ok() ? info : passable;
  }
  if (cookie == 0) {
    const absl::StatusOr<uint64_t> found = SocketCookie(fd);
    if (!found.ok()) return found.status();
    cookie = *found;
  }
  v1::DescriptorInfo info;
  info.set_kind(v1::DescriptorInfo::TCP);
  info.set_socket_cookie(cookie);
  return info;
}

}  // namespace

void Roster::Snapshot(Group& group, Session& session, uint64_t handoff,
                      bool frozen, GroupSnapshot& out) {
  if (session.ended_) return;
  bool first;
  bool storing;
  uint32_t version = 0;
  Copy dropped;  // without the lock
  const auto stays = [&](absl::string_view reason, bool refused) {
    v1::KeptSession kept;
    kept.set_id(session.id());
    kept.set_type(session.type());
    kept.set_reason(Printable(reason));
    kept.set_refused(refused);
    sent_.erase(session.id());
    dropped = std::exchange(copies_[session.id()], {});
    copies_.erase(session.id());
    kept_[session.id()] = kept;
    out.kept.push_back(std::move(kept));
  };
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (handoff != handoff_) return;
    session.changed_ = false;
    if (kept_.count(session.id()) != 0) return;
    std::string reason = session.keep_reason_;
    const bool can_move = reason.empty();
    if (!can_move) {
      // Whatever the successor takes.
    } else if (const auto it = refused_.find(session.id());
               it != refused_.end()) {
      reason = it->second.empty() ? "the successor refused it" : it->second;
    } else if (refused_types_.count(session.type()) != 0) {
      reason = "the successor takes no sessions of this type";
    }
    if (!reason.empty()) return stays(reason, can_move);
    const auto it = versions_.find(session.type());
    if (it == versions_.end()) {
      out.status = absl::FailedPreconditionError(
          absl::StrCat("session type \"", session.type(),
                       "\" is none of Options::state_types"));
      return;
    }
    version = it->second;
    storing = storing_;
    first = sent_.insert(session.id()).second || storing;
  }
  SessionWriter writer(version);
  if (absl::Status status = group.Snapshot(session, writer); !status.ok()) {
    out.status = status;
    return;
  }
  if (!writer.refusal_.empty()) {
    std::lock_guard<std::mutex> lock(mu_);
    if (handoff == handoff_) stays(writer.refusal_, /*refused=*/true);
    return;
  }
  const bool copies = group.TakesBack() && !storing;
  GroupSnapshot::Item& item = out.items.emplace_back();
  v1::SessionRecord& record = item.record;
  record.set_id(session.id());
  record.set_type(session.type());
  record.set_handoffs(session.handoffs());
  record.set_opened_at(
      static_cast<uint64_t>(absl::ToUnixNanos(session.opened_at())));
  record.set_frozen(frozen);
  record.mutable_state()->Swap(&writer.state_);
  const auto failed = [&out](absl::Status status) {
    out.items.pop_back();
    out.status = std::move(status);
  };
  for (Session::Descriptor& d : session.descriptors_) {
    if (absl::Status s = CheckName("session's descriptor", d.name); !s.ok()) {
      return failed(s);
    }
    v1::SessionDescriptor* sent = record.add_descriptors();
    sent->set_name(d.name);
    SessionWriter::Bytes& bytes = writer.Find(d.name);
    sent->set_input(std::move(bytes.input));
    sent->set_output(std::move(bytes.output));
    const bool sends = first || !d.sent;
    // While it is frozen the word proves as much, and each call is one within
    // the blackout. Who takes back looks when the word is decided.
    bool is_tcp = d.cookie != 0;
    if (!frozen || copies || (sends && !is_tcp)) {
      auto counters = ReadTcpCounters(d.fd->get());
      is_tcp = counters.ok();
      if (is_tcp) *sent->mutable_counters() = *std::move(counters);
    }
    if (!sends) continue;
    auto info = InfoOf(d.fd->get(), is_tcp, d.cookie);
    if (!info.ok()) return failed(info.status());
    item.infos.push_back(*std::move(info));
    item.descriptors.push_back(d.fd);
    sent->set_sent_in(static_cast<uint32_t>(item.descriptors.size()));
    d.sent = true;
  }
  if (copies) Copied(session, item, handoff);
}

void Roster::Copied(const Session& session, const GroupSnapshot::Item& item,
                    uint64_t handoff) {
  Copy copy;
  copy.group = session.group_;
  copy.staged.record = item.record;
  // The word that froze it lets somebody else go on: then only counters tell.
  copy.staged.record.clear_frozen();
  for (const Session::Descriptor& d : session.descriptors_) {
    copy.staged.descriptors.push_back(d.fd);
  }
  std::lock_guard<std::mutex> lock(mu_);
  // That handoff may have ended meanwhile.
  if (handoff == handoff_) std::swap(copies_[session.id()], copy);
}

std::map<int, std::vector<Roster::Returned>> Roster::TakeBack(
    const Limits& limits) {
  std::unordered_map<uint64_t, Copy> copies;  // closed without the lock
  std::map<std::string, uint32_t> versions;
  {
    std::lock_guard<std::mutex> lock(mu_);
    copies.swap(copies_);
    versions = versions_;
  }
  std::map<int, std::vector<Returned>> returned;
  StateReader reader(limits);
  for (auto& [id, copy] : copies) {
    if (!Untouched(copy.staged)) continue;
    {
      // Its group has not even released it, and will when it comes to it.
      std::lock_guard<std::mutex> lock(mu_);
      if (sessions_.count(id) != 0) continue;
    }
    StagedInventory::Arrival arrival =
        StagedInventory::TakeArrival(copy.staged);
    absl::StatusOr<SessionSnapshot> snapshot =
        reader.Read(arrival, versions[arrival.type]);
    if (!snapshot.ok()) continue;
    const std::shared_ptr<Session> session = Receive(arrival, arrival.handoffs);
    Adopt(*session, copy.group);
    returned[copy.group].push_back({session, *std::move(snapshot)});
  }
  return returned;
}

void Roster::DropCopies() {
  std::unordered_map<uint64_t, Copy> copies;  // closed without the lock
  std::lock_guard<std::mutex> lock(mu_);
  copies.swap(copies_);
}

}  // namespace handoff
