// What an operator may ask of sessions, beside a handoff.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "handoff/roster.h"

namespace handoff {

std::map<int, std::vector<std::shared_ptr<Session>>> Roster::Find(
    absl::Span<const uint64_t> ids, bool all) const {
  std::map<int, std::vector<std::shared_ptr<Session>>> found;
  std::unordered_set<uint64_t> seen;  // none comes twice
  std::lock_guard<std::mutex> lock(mu_);
  const auto add = [&](const std::shared_ptr<Session>& session) {
    if (session->group_ >= 0) found[session->group_].push_back(session);
  };
  if (all) {
    for (const auto& [id, session] : sessions_) add(session);
    return found;
  }
  for (const uint64_t id : ids) {
    const auto it = sessions_.find(id);
    if (it != sessions_.end() && seen.insert(id).second) add(it->second);
  }
  return found;
}

absl::StatusOr<SessionSnapshot> Roster::Peek(Group& group, Session& session,
                                             uint32_t version) const {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (!session.keep_reason_.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "it is kept, so it has no state to move: ", session.keep_reason_));
    }
  }
  SessionWriter writer(version);
  if (absl::Status s = group.Snapshot(session, writer); !s.ok()) return s;
  if (!writer.refusal_.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "it is kept, so it has no state to move: ", writer.refusal_));
  }
  SessionSnapshot snapshot;
  snapshot.version = version;
  for (const Session::Descriptor& d : session.descriptors_) {
    SessionWriter::Bytes& bytes = writer.Find(d.name);
    snapshot.bytes.push_back(
        {d.name, std::move(bytes.input), std::move(bytes.output)});
  }
  snapshot.state = std::move(writer.state_);
  return snapshot;
}

void Roster::EndWaits() {
  std::lock_guard<std::mutex> lock(mu_);
  waits_over_ = true;
  gone_.notify_all();
}

bool Roster::waits_over() const {
  std::lock_guard<std::mutex> lock(mu_);
  return waits_over_;
}

size_t Roster::WaitForEnd(std::vector<std::shared_ptr<Session>>& sessions,
                          absl::Time deadline) const {
  size_t ended = 0;
  std::vector<std::shared_ptr<Session>> left;
  std::unique_lock<std::mutex> lock(mu_);
  // One after the other: whoever ends meanwhile is found to have ended.
  while (!sessions.empty()) {
    const Session& session = *sessions.back();
    if (!session.ended_ && !waits_over_ &&
        gone_.wait_until(lock, absl::ToChronoTime(deadline)) ==
            std::cv_status::no_timeout) {
      continue;
    }
    if (!session.ended_) {
      left.push_back(std::move(sessions.back()));
    } else if (!session.moved_) {
      ++ended;
    }
    sessions.pop_back();
  }
  lock.unlock();  // the last of them may go now
  sessions = std::move(left);
  return ended;
}

}  // namespace handoff
