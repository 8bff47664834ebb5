// What is sent of a session.

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/memfd.h"
#include "handoff/protocol/frame.h"
#include "handoff/protocol/settings.h"
#include "handoff/roster.h"
#include "handoff/staged_state.h"

namespace handoff {
namespace {

// Moves what is large into a memfd, which becomes one more descriptor.
absl::Status Shrink(GroupSnapshot::Item& item) {
  v1::SessionRecord& record = item.record;
  size_t bytes = record.state().ByteSizeLong();
  for (const auto& d : record.descriptors()) {
    bytes += d.input().size() + d.output().size();
  }
  if (bytes <= kInlineStateBytes) return absl::OkStatus();
  v1::SessionState state;
  state.mutable_state()->Swap(record.mutable_state());
  record.clear_state();
  for (auto& d : *record.mutable_descriptors()) {
    auto* large = state.add_descriptors();
    large->set_input(std::move(*d.mutable_input()));
    large->set_output(std::move(*d.mutable_output()));
    d.clear_input();
    d.clear_output();
  }
  auto memfd = MakeSealedMemfd("handoff-session", state.SerializeAsString());
  if (!memfd.ok()) return memfd.status();
  item.descriptors.push_back(
      std::make_shared<UniqueFd>(*std::move(memfd)));
  record.set_state_in(static_cast<uint32_t>(item.descriptors.size()));
  return absl::OkStatus();
}

}  // namespace

void Roster::Snapshot(Group& group, Session& session, uint64_t handoff,
                      GroupSnapshot& out) {
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
  GroupSnapshot::Item item;
  v1::SessionRecord& record = item.record;
  record.set_id(session.id());
  record.set_type(session.type());
  record.set_handoffs(session.handoffs());
  record.set_opened_at(
      static_cast<uint64_t>(absl::ToUnixNanos(session.opened_at())));
  *record.mutable_state() = std::move(writer.state_);
  for (Session::Descriptor& d : session.descriptors_) {
    if (absl::Status s = CheckName("session's descriptor", d.name); !s.ok()) {
      out.status = s;
      return;
    }
    v1::SessionDescriptor* sent = record.add_descriptors();
    sent->set_name(d.name);
    SessionWriter::Bytes& bytes = writer.Find(d.name);
    sent->set_input(std::move(bytes.input));
    sent->set_output(std::move(bytes.output));
    if (auto counters = ReadTcpCounters(d.fd->get()); counters.ok()) {
      *sent->mutable_counters() = *counters;
    }
    if (first || !d.sent) {
      item.descriptors.push_back(d.fd);
      sent->set_sent_in(static_cast<uint32_t>(item.descriptors.size()));
      d.sent = true;
    }
  }
  if (absl::Status status = Shrink(item); !status.ok()) {
    out.status = status;
    return;
  }
  if (group.TakesBack() && !storing) Copied(session, item, handoff);
  out.items.push_back(std::move(item));
}

void Roster::Copied(const Session& session, const GroupSnapshot::Item& item,
                    uint64_t handoff) {
  Copy copy = {session.group_, {item.record, {}, nullptr}};
  for (const Session::Descriptor& d : session.descriptors_) {
    copy.staged.descriptors.push_back(d.fd);
  }
  if (item.record.state_in() != 0) {
    copy.staged.state_memfd = item.descriptors[item.record.state_in() - 1];
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
  for (auto& [id, copy] : copies) {
    v1::SessionRecord& record = copy.staged.record;
    if (!Untouched(copy.staged)) continue;
    {
      // Its group has not even released it, and will when it comes to it.
      std::lock_guard<std::mutex> lock(mu_);
      if (sessions_.count(id) != 0) continue;
    }
    absl::StatusOr<SessionSnapshot> snapshot =
        DecodeSession(copy.staged, versions[record.type()], limits);
    if (!snapshot.ok()) continue;
    const std::shared_ptr<Session> session =
        Receive(record, copy.staged.descriptors, record.handoffs());
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
