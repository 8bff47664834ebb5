// What an operator asks of a process's groups.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/process.h"
#include "handoff/process_control.h"

namespace handoff {
namespace {

using Sessions = std::vector<std::shared_ptr<Session>>;

// Sessions that one function on a loop looks at: as many as in a handoff.
constexpr size_t kSlice = 128;
// How long a session has, that is ended at once, until it has ended.
constexpr absl::Duration kCutOffTime = absl::Seconds(1);
// How long a loop may take to say whether it can stop accepting.
constexpr absl::Duration kAcceptingTime = absl::Seconds(5);

// In slices, each posted by the one before: the loop serves others meanwhile.
void DrainSlice(GroupSet* groups, int group,
                std::shared_ptr<const Sessions> sessions, size_t from,
                bool at_once) {
  groups->Visit(group, [=](Group& visited, bool /*released*/) {
    const size_t to = std::min(from + kSlice, sessions->size());
    for (size_t i = from; i < to; ++i) {
      Session& session = *(*sessions)[i];
      if (!Roster::Ended(session)) visited.DrainSession(session, at_once);
    }
    if (to < sessions->size()) {
      DrainSlice(groups, group, sessions, to, at_once);
    }
  });
}

void DrainAll(GroupSet* groups, std::map<int, Sessions> by_group,
              bool at_once) {
  for (auto& [group, sessions] : by_group) {
    DrainSlice(groups, group,
               std::make_shared<const Sessions>(std::move(sessions)), 0,
               at_once);
  }
}

// What several loops are asked, shared with the functions posted for it: a loop
// may come to it after everybody has stopped waiting.
struct Reading {
  std::mutex mu;
  std::condition_variable changed;
  size_t pending = 0;  // groups
  bool refused = false;
  bool given_up = false;
  std::unordered_map<uint64_t, Control::SessionState> states;

  bool done() const { return pending == 0 || refused; }
};

void ReadSlice(GroupSet* groups, const Roster* roster, int group,
               std::shared_ptr<const Sessions> sessions, size_t from,
               const std::map<std::string, uint32_t>& versions,
               std::shared_ptr<Reading> reading) {
  const auto read = [=](Group& visited, bool /*released*/) {
    {
      std::lock_guard<std::mutex> lock(reading->mu);
      if (reading->given_up) return;
    }
    const size_t to = std::min(from + kSlice, sessions->size());
    std::vector<Control::SessionState> states;
    for (size_t i = from; i < to; ++i) {
      Session& session = *(*sessions)[i];
      if (Roster::Ended(session)) continue;
      Control::SessionState& state = states.emplace_back();
      state.session = session.id();
      const auto version = versions.find(session.type());
      if (version == versions.end()) {
        state.status = absl::FailedPreconditionError(absl::StrCat(
            "\"", session.type(), "\" is none of Options::state_types"));
        continue;
      }
      auto snapshot = roster->Peek(visited, session, version->second);
      state.status = snapshot.status();
      if (snapshot.ok()) state.snapshot = *std::move(snapshot);
    }
    {
      std::lock_guard<std::mutex> lock(reading->mu);
      for (Control::SessionState& state : states) {
        reading->states[state.session] = std::move(state);
      }
      if (to == sessions->size()) --reading->pending;
      reading->changed.notify_all();
    }
    if (to < sessions->size()) {
      ReadSlice(groups, roster, group, sessions, to, versions, reading);
    }
  };
  groups->Visit(group, read, /*instead=*/[reading] {
    std::lock_guard<std::mutex> lock(reading->mu);
    reading->refused = true;
    reading->changed.notify_all();
  });
}

}  // namespace

absl::StatusOr<std::vector<Control::SessionState>> ProcessControl::ReadState(
    absl::Span<const uint64_t> sessions, absl::Time deadline) {
  const absl::Status frozen = absl::UnavailableError(
      "a handoff freezes the groups; ask again when it is over");
  GroupSet& groups = process_->groups_;
  if (groups.quiescing()) return frozen;
  std::map<std::string, uint32_t> versions;
  for (const StateType& type : process_->options_.state_types) {
    versions[type.name] = type.highest;
  }
  std::map<int, Sessions> found =
      process_->roster_.Find(sessions, /*all=*/false);
  const auto reading = std::make_shared<Reading>();
  reading->pending = found.size();
  for (auto& [group, some] : found) {
    ReadSlice(&groups, &process_->roster_, group,
              std::make_shared<const Sessions>(std::move(some)), 0, versions,
              reading);
  }
  std::unique_lock<std::mutex> lock(reading->mu);
  const bool in_time = reading->changed.wait_until(
      lock, absl::ToChronoTime(deadline), [&] { return reading->done(); });
  reading->given_up = true;
  if (reading->refused) return frozen;
  if (!in_time) return absl::DeadlineExceededError("a group does not answer");
  std::vector<SessionState> states;
  for (const uint64_t session : sessions) {
    const auto it = reading->states.find(session);
    if (it == reading->states.end()) continue;
    states.push_back(std::move(it->second));
    reading->states.erase(it);
  }
  return states;
}

absl::Status ProcessControl::SetAccepting(bool accepting) {
  // One after the other: the last one counts, in every group.
  std::lock_guard<std::mutex> one_at_a_time(accepting_mu_);
  {
    std::lock_guard<std::mutex> lock(process_->mu_);
    if (process_->busy_) {
      return absl::FailedPreconditionError("a handoff is under way or done");
    }
  }
  struct Answers {
    std::mutex mu;
    std::condition_variable changed;
    size_t pending;
    bool any = false;
    bool released = false;
  };
  const auto answers = std::make_shared<Answers>();
  answers->pending = process_->groups_.size();
  for (size_t i = 0; i < process_->groups_.size(); ++i) {
    process_->groups_.Visit(static_cast<int>(i), [=](Group& group,
                                                     bool released) {
      const bool can = !released && group.SetAccepting(accepting);
      std::lock_guard<std::mutex> lock(answers->mu);
      --answers->pending;
      answers->any |= can;
      answers->released |= released;
      answers->changed.notify_all();
    });
  }
  std::unique_lock<std::mutex> lock(answers->mu);
  const bool all =
      answers->changed.wait_for(lock, absl::ToChronoNanoseconds(kAcceptingTime),
                                [&] { return answers->pending == 0; });
  if (answers->released) {
    return absl::FailedPreconditionError("a successor serves");
  }
  if (all && !answers->any) {
    return absl::UnimplementedError("no group of this service can tell");
  }
  accepting_.store(accepting);
  if (!all) {
    return absl::DeadlineExceededError(
        "a group does not answer; it obeys when it comes to it");
  }
  return absl::OkStatus();
}

void ProcessControl::Probe(std::function<void()> done) {
  GroupSet& groups = process_->groups_;
  if (groups.size() == 0) return done();
  const auto left = std::make_shared<std::atomic<size_t>>(groups.size());
  const std::function<void()> answer = [left, done = std::move(done)] {
    if (left->fetch_sub(1) == 1) done();
  };
  for (size_t i = 0; i < groups.size(); ++i) {
    groups.Visit(static_cast<int>(i),
                 [answer](Group& /*group*/, bool /*released*/) { answer(); },
                 /*instead=*/answer);
  }
}

absl::StatusOr<Control::Drained> ProcessControl::Drain(
    absl::Span<const uint64_t> sessions, bool all, absl::Time deadline) {
  {
    std::lock_guard<std::mutex> lock(process_->mu_);
    if (process_->state_ == "handing off") {
      return absl::FailedPreconditionError("a handoff is under way");
    }
  }
  const absl::Status over = absl::UnavailableError(
      "this process ends, and its service deals with what is left; ask whoever "
      "serves then");
  if (process_->roster_.waits_over()) return over;
  std::map<int, Sessions> found = process_->roster_.Find(sessions, all);
  Sessions left;
  for (const auto& [group, some] : found) {
    left.insert(left.end(), some.begin(), some.end());
  }
  if (left.empty() && !all) {
    return absl::NotFoundError("none of these sessions is there");
  }
  Drained drained;
  drained.asked = left.size();
  DrainAll(&process_->groups_, std::move(found), /*at_once=*/false);
  drained.ended = process_->roster_.WaitForEnd(left, deadline);
  if (left.empty()) return drained;
  // The end came before the deadline: nobody is cut off before theirs.
  if (process_->roster_.waits_over()) return over;

  std::map<int, Sessions> late;
  for (const std::shared_ptr<Session>& session : left) {
    late[process_->roster_.GroupOf(*session)].push_back(session);
  }
  DrainAll(&process_->groups_, std::move(late), /*at_once=*/true);
  drained.cut_off =
      process_->roster_.WaitForEnd(left, absl::Now() + kCutOffTime);
  return drained;
}

}  // namespace handoff
