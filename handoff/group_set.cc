#include "handoff/group_set.h"

#include <time.h>

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <limits>
#include <mutex>
#include <utility>

namespace handoff {
namespace {

// Live sessions that one posted function snapshots: some 500 microseconds, for
// which the loop serves nobody.
constexpr size_t kLiveSlice = 128;

// How often the cut looks for sessions that a snapshot itself has changed.
constexpr int kCutPasses = 4;

uint64_t MonotonicNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

// One handoff, shared with the functions posted for it.
struct GroupSet::Steps {
  enum class Verdict { kNone, kThaw, kRelease };

  mutable std::mutex mu;
  std::condition_variable decided;
  Verdict verdict = Verdict::kNone;
  uint64_t handoff = 0;  // the roster's number
  bool quiesced = false;
  size_t pending = 0;  // groups that have not done the step
  bool needs_barrier = false;
  uint64_t cut_at = std::numeric_limits<uint64_t>::max();
  std::vector<GroupSnapshot> snapshots;
  std::vector<std::string> unclaimed;
  // By group; as of the verdict, whenever a group comes to release them.
  std::map<int, std::vector<std::shared_ptr<Session>>> moved;

  bool over() const {
    std::lock_guard<std::mutex> lock(mu);
    return verdict != Verdict::kNone;
  }
  void Start(size_t groups, bool barrier) {
    std::lock_guard<std::mutex> lock(mu);
    pending = groups;
    needs_barrier = barrier;
  }
  void Done() {
    std::lock_guard<std::mutex> lock(mu);
    --pending;
  }
  void Deliver(GroupSnapshot snapshot, bool last) {
    std::lock_guard<std::mutex> lock(mu);
    // Of no use to anybody, and it would hold descriptors until the next one.
    if (verdict != Verdict::kNone) return;
    snapshots.push_back(std::move(snapshot));
    if (last) --pending;
  }
};

class GroupSet::Member : public GroupHandle {
 public:
  Member(GroupSet* set, Group* group, int index)
      : set_(set), group_(group), index_(index) {}

  std::shared_ptr<Session> Open(absl::string_view type,
                                std::vector<NamedFd> descriptors) override {
    return set_->roster_->Open(index_, type, std::move(descriptors));
  }
  void Adopt(Session& session) override {
    set_->roster_->Adopt(session, index_);
  }
  void Post(std::function<void()> fn) override {
    // Counted down after `fn` has run, so what it posts itself is counted
    // before: zero means that nothing is left anywhere.
    set_->in_flight_->fetch_add(1);
    group_->Post([fn = std::move(fn), in_flight = set_->in_flight_,
                  wake = set_->wake_, awaited = set_->awaited_] {
      fn();
      if (in_flight->fetch_sub(1) == 1 && awaited->load()) wake();
    });
  }

  Group* group() { return group_; }
  int index() const { return index_; }

  void Round(std::shared_ptr<Steps> steps, bool first) {
    group_->Post([this, steps, first] {
      if (steps->over()) return;
      auto sessions =
          std::make_shared<std::vector<std::shared_ptr<Session>>>(
              first ? set_->roster_->TrackGroup(index_, steps->handoff)
                    : set_->roster_->TakeChanged(index_, steps->handoff));
      Slice(steps, std::move(sessions), 0);
    });
  }

  void Quiesce(std::shared_ptr<Steps> steps) {
    group_->Post([this, steps] {
      if (steps->over()) return;
      quiesced_ = true;
      Reach(set_->seam_, "hook", "quiesce");
      group_->Quiesce();
      steps->Done();
      set_->wake_();
    });
  }

  void Cut(std::shared_ptr<Steps> steps) {
    group_->Post([this, steps] {
      if (steps->over()) return;
      const uint64_t now = MonotonicNanos();
      GroupSnapshot snapshot;
      // Again where a snapshot has changed a session: the last word counts.
      for (int pass = 0; pass < kCutPasses; ++pass) {
        const auto changed =
            set_->roster_->TakeChanged(index_, steps->handoff);
        if (changed.empty()) break;
        if (pass == kCutPasses - 1) {
          snapshot.status = absl::InternalError(
              "Snapshot changes sessions without end");
        }
        for (const auto& session : changed) {
          Snapshot(*session, *steps, /*frozen=*/true, snapshot);
          if (snapshot.items.size() < kLiveSlice) continue;
          // On its way while this thread writes down the next ones.
          steps->Deliver(std::exchange(snapshot, {}), /*last=*/false);
          set_->wake_();
        }
      }
      Reach(set_->seam_, "hook", "cut");
      std::unique_lock<std::mutex> lock(steps->mu);
      steps->cut_at = std::min(steps->cut_at, now);
      if (steps->verdict == Steps::Verdict::kNone) {
        steps->snapshots.push_back(std::move(snapshot));
      }
      --steps->pending;
      lock.unlock();
      set_->wake_();
      lock.lock();
      // The library's thread always decides, by its deadline at the latest.
      steps->decided.wait(
          lock, [&] { return steps->verdict != Steps::Verdict::kNone; });
      const bool release = steps->verdict == Steps::Verdict::kRelease;
      const std::vector<std::string> unclaimed = steps->unclaimed;
      const auto moved = std::move(steps->moved[index_]);
      lock.unlock();
      quiesced_ = false;
      Reach(set_->seam_, "hook", release ? "release" : "thaw");
      if (release) {
        released_ = true;
        group_->Release(moved, unclaimed);
        set_->roster_->Release(moved);
        steps->Done();
        set_->wake_();
      } else {
        group_->Thaw();
      }
      LetIn();
    });
  }

  // For a group that was told to quiesce but is not frozen.
  void Thaw() {
    group_->Post([this] {
      if (!std::exchange(quiesced_, false)) return;
      Reach(set_->seam_, "hook", "thaw");
      group_->Thaw();
      LetIn();
    });
  }

  void ThawReleased() {
    group_->Post([this] {
      Reach(set_->seam_, "hook", "thaw");
      released_ = false;
      group_->Thaw();
    });
  }

  void Visit(Visitor visit, std::function<void()> instead) {
    group_->Post([this, visit = std::move(visit),
                  instead = std::move(instead)]() mutable {
      if (!quiesced_) return visit(*group_, released_);
      if (instead) return instead();
      waiting_.push_back(std::move(visit));
    });
  }

 private:
  // Whoever came while the group was quiesced.
  void LetIn() {
    for (Visitor& visit : std::exchange(waiting_, {})) {
      visit(*group_, released_);
    }
  }

  void Snapshot(Session& session, const Steps& steps, bool frozen,
                GroupSnapshot& out) {
    Reach(set_->seam_, "hook", "snapshot");
    set_->roster_->Snapshot(*group_, session, steps.handoff, frozen, out);
  }

  void Slice(std::shared_ptr<Steps> steps,
             std::shared_ptr<std::vector<std::shared_ptr<Session>>> sessions,
             size_t from) {
    if (steps->over()) return;
    const size_t to = std::min(from + kLiveSlice, sessions->size());
    GroupSnapshot snapshot;
    snapshot.items.reserve(to - from);
    for (size_t i = from; i < to; ++i) {
      Snapshot(*(*sessions)[i], *steps, /*frozen=*/false, snapshot);
    }
    const bool last = to == sessions->size();
    steps->Deliver(std::move(snapshot), last);
    set_->wake_();
    if (last) return;
    group_->Post([this, steps = std::move(steps),
                  sessions = std::move(sessions), to] {
      Slice(steps, sessions, to);
    });
  }

  GroupSet* const set_;
  Group* const group_;
  const int index_;
  // The loop's.
  bool quiesced_ = false;
  bool released_ = false;
  std::vector<Visitor> waiting_;
};

GroupSet::GroupSet(Roster* roster, std::function<void()> wake, FaultSeam* seam)
    : roster_(roster),
      wake_(std::move(wake)),
      seam_(seam),
      steps_(std::make_shared<Steps>()),
      in_flight_(std::make_shared<std::atomic<int64_t>>(0)),
      awaited_(std::make_shared<std::atomic<bool>>(false)) {}

GroupSet::~GroupSet() = default;

GroupHandle* GroupSet::Register(Group* group) {
  members_.push_back(std::make_unique<Member>(
      this, group, static_cast<int>(members_.size())));
  return members_.back().get();
}

void GroupSet::Begin(std::map<std::string, uint32_t> versions) {
  roster_->DropCopies();
  steps_ = std::make_shared<Steps>();
  steps_->handoff = roster_->BeginHandoff(std::move(versions));
}

void GroupSet::BeginStoring(std::map<std::string, uint32_t> versions) {
  roster_->DropCopies();
  steps_ = std::make_shared<Steps>();
  steps_->handoff = roster_->BeginStoring(std::move(versions));
}

void GroupSet::StartRound(bool first) {
  steps_->Start(members_.size(), /*barrier=*/false);
  for (auto& member : members_) member->Round(steps_, first);
}

void GroupSet::StartQuiesce() {
  steps_->Start(members_.size(), /*barrier=*/true);
  steps_->quiesced = true;
  quiescing_.store(true);
  awaited_->store(true);
  for (auto& member : members_) member->Quiesce(steps_);
}

void GroupSet::StartCut() {
  steps_->Start(members_.size(), /*barrier=*/true);
  for (auto& member : members_) member->Cut(steps_);
}

bool GroupSet::StepDone() const {
  std::lock_guard<std::mutex> lock(steps_->mu);
  return steps_->pending == 0 &&
         (!steps_->needs_barrier || in_flight_->load() == 0);
}

bool GroupSet::CutSpoiled() const {
  std::lock_guard<std::mutex> lock(steps_->mu);
  return steps_->pending == 0 && in_flight_->load() != 0;
}

std::vector<GroupSnapshot> GroupSet::TakeSnapshots() {
  std::lock_guard<std::mutex> lock(steps_->mu);
  return std::exchange(steps_->snapshots, {});
}

uint64_t GroupSet::cut_at() const {
  std::lock_guard<std::mutex> lock(steps_->mu);
  return steps_->cut_at;
}

void GroupSet::Thaw() {
  const bool quiesced = steps_->quiesced;
  Cancel();
  if (!quiesced) return;
  for (auto& member : members_) member->Thaw();
}

void GroupSet::Cancel() {
  quiescing_.store(false);
  awaited_->store(false);
  roster_->EndTracking();
  roster_->BeginHandoff({});  // what was sent is nobody's business any more
  std::vector<GroupSnapshot> unused;  // let go of without the lock
  {
    std::lock_guard<std::mutex> lock(steps_->mu);
    steps_->snapshots.swap(unused);
    steps_->verdict = Steps::Verdict::kThaw;
    steps_->decided.notify_all();
  }
  roster_->DropCopies();  // when the groups go on already
}

void GroupSet::StartRelease(std::vector<std::string> unclaimed) {
  quiescing_.store(false);
  awaited_->store(false);
  roster_->EndTracking();
  auto moved = roster_->Moved();
  std::lock_guard<std::mutex> lock(steps_->mu);
  steps_->moved = std::move(moved);
  steps_->pending = members_.size();
  steps_->needs_barrier = false;
  steps_->unclaimed = std::move(unclaimed);
  steps_->verdict = Steps::Verdict::kRelease;
  steps_->decided.notify_all();
}

void GroupSet::ThawReleased() {
  for (auto& member : members_) member->ThawReleased();
}

void GroupSet::TakeBack(std::map<int, std::vector<Roster::Returned>> returned) {
  for (auto& [index, sessions] : returned) {
    Group* const group = members_[static_cast<size_t>(index)]->group();
    // All slices now: a snapshot of the next handoff comes behind them.
    for (size_t from = 0; from < sessions.size(); from += kLiveSlice) {
      const size_t to = std::min(from + kLiveSlice, sessions.size());
      auto slice = std::make_shared<std::vector<Roster::Returned>>(
          std::make_move_iterator(sessions.begin() + from),
          std::make_move_iterator(sessions.begin() + to));
      group->Post([group, slice, seam = seam_] {
        for (const Roster::Returned& r : *slice) {
          Reach(seam, "hook", "take-back");
          group->TakeBack(r.session, r.snapshot);
        }
      });
    }
  }
}

void GroupSet::Drain() {
  for (auto& member : members_) {
    Group* const group = member->group();
    group->Post([group] { group->Drain(); });
  }
}

void GroupSet::Visit(int group, Visitor visit, std::function<void()> instead) {
  members_[static_cast<size_t>(group)]->Visit(std::move(visit),
                                              std::move(instead));
}

void GroupSet::AfterFirstPoll(std::function<void(int, uint64_t)> done) {
  for (auto& member : members_) {
    Group* const group = member->group();
    const int index = member->index();
    // What a loop posts to itself runs behind a poll, whatever the order in
    // which it takes posted work and ready descriptors.
    group->Post([group, index, done] {
      group->Post([index, done] { done(index, MonotonicNanos()); });
    });
  }
}

}  // namespace handoff
