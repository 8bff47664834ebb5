// The four steps of a group, with real threads.

#include "handoff/group_set.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/protobuf/wrappers.pb.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

// A loop that runs what is posted, and counts what the library asks of it.
class Loop : public Group {
 public:
  Loop() : thread_([this] { Run(); }) {}
  ~Loop() override { Join(); }

  void Join() {
    Post(nullptr);
    if (thread_.joinable()) thread_.join();
  }

  void Post(std::function<void()> fn) override {
    std::lock_guard<std::mutex> lock(mu_);
    posted_.push_back(std::move(fn));
    more_.notify_one();
  }
  absl::Status Snapshot(Session& session, SessionWriter& writer) override {
    ++snapshots;
    google::protobuf::UInt64Value value;
    value.set_value(session.id());
    writer.State(value);
    if (session.id() == refuses) writer.Refuse("version 1 has no words for it");
    return fail_snapshot ? absl::InternalError("told to fail")
                         : absl::OkStatus();
  }
  void Quiesce() override { ++quiesced; }
  void Thaw() override { ++thawed; }
  void Release(absl::Span<const std::shared_ptr<Session>> moved,
               absl::Span<const std::string>) override {
    released += moved.size();
  }
  // Runs `fn` on the loop and waits for it.
  void Do(const std::function<void()>& fn) {
    std::mutex mu;
    std::condition_variable cv;
    bool done = false;
    Post([&] {
      fn();
      std::lock_guard<std::mutex> lock(mu);
      done = true;
      cv.notify_one();
    });
    std::unique_lock<std::mutex> lock(mu);
    cv.wait(lock, [&] { return done; });
  }

  // Of the loop's thread; read through Do(), or after Join().
  int snapshots = 0;
  int quiesced = 0;
  int thawed = 0;
  size_t released = 0;
  bool fail_snapshot = false;
  uint64_t refuses = 0;  // a session

 private:
  void Run() {
    while (true) {
      std::function<void()> fn;
      {
        std::unique_lock<std::mutex> lock(mu_);
        more_.wait(lock, [&] { return !posted_.empty(); });
        fn = std::move(posted_.front());
        posted_.pop_front();
      }
      if (fn == nullptr) return;
      fn();
    }
  }

  std::mutex mu_;
  std::condition_variable more_;
  std::deque<std::function<void()>> posted_;
  std::thread thread_;
};

class GroupSetTest : public testing::Test {
 protected:
  GroupSetTest() : groups_(&roster_, [this] { Wake(); }) {
    for (auto& loop : loops_) handles_.push_back(groups_.Register(&loop));
    groups_.Begin({{"t", 1}});
  }
  // The loops end before what they call is destroyed.
  ~GroupSetTest() override {
    for (auto& loop : loops_) loop.Join();
  }

  void Wake() {
    std::lock_guard<std::mutex> lock(mu_);
    ++wakes_;
    woken_.notify_all();
  }
  // Waits, woken as the library's thread is, until `done`.
  bool WaitFor(const std::function<bool()>& done) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    std::unique_lock<std::mutex> lock(mu_);
    int seen = -1;
    while (true) {
      if (seen != wakes_) {
        seen = wakes_;
        lock.unlock();
        if (done()) return true;
        lock.lock();
        continue;
      }
      if (woken_.wait_until(lock, absl::ToChronoTime(deadline)) ==
          std::cv_status::timeout) {
        return false;
      }
    }
  }
  bool StepDone() {
    return WaitFor([this] { return groups_.StepDone(); });
  }
  std::shared_ptr<Session> Open(int group) {
    std::shared_ptr<Session> session;
    loops_[group].Do([&] {
      std::vector<NamedFd> fds;
      fds.push_back({"client", UniqueFd(::eventfd(0, EFD_CLOEXEC))});
      session = handles_[group]->Open("t", std::move(fds));
    });
    return session;
  }
  size_t Items() {
    size_t items = 0;
    for (const GroupSnapshot& snapshot : groups_.TakeSnapshots()) {
      EXPECT_TRUE(snapshot.status.ok()) << snapshot.status;
      items += snapshot.items.size();
    }
    return items;
  }

  std::mutex mu_;
  std::condition_variable woken_;
  int wakes_ = 0;
  Roster roster_;
  GroupSet groups_;
  Loop loops_[2];
  std::vector<GroupHandle*> handles_;
};

TEST_F(GroupSetTest, TheFirstRoundHasEverythingAndTheSecondWhatChanged) {
  std::vector<std::shared_ptr<Session>> sessions;
  for (int i = 0; i < 700; ++i) sessions.push_back(Open(i % 2));
  groups_.StartRound(/*first=*/true);
  ASSERT_TRUE(StepDone());
  EXPECT_EQ(Items(), 700u);

  loops_[0].Do([&] {
    sessions[0]->Changed();
    sessions[0]->Changed();
    sessions[2]->Changed();
  });
  Open(1);
  groups_.StartRound(/*first=*/false);
  ASSERT_TRUE(StepDone());
  EXPECT_EQ(Items(), 3u);
  groups_.StartRound(/*first=*/false);
  ASSERT_TRUE(StepDone());
  EXPECT_EQ(Items(), 0u);
  groups_.Cancel();
}

TEST_F(GroupSetTest, WhatEndsAfterItWasSentIsNamedOnce) {
  const auto session = Open(0);
  const auto never_sent = Open(0);
  loops_[0].Do([&] { never_sent->Close(); });
  groups_.StartRound(true);
  ASSERT_TRUE(StepDone());
  EXPECT_EQ(Items(), 1u);
  loops_[0].Do([&] {
    session->Close();
    session->Close();
  });
  EXPECT_EQ(roster_.TakeClosed(), std::vector<uint64_t>{session->id()});
  EXPECT_TRUE(roster_.TakeClosed().empty());
  EXPECT_EQ(roster_.size(), 0u);
  groups_.Cancel();
}

TEST_F(GroupSetTest, TheBarrierWaitsForWorkThatIsPostedBetweenGroups) {
  // A ball that two groups throw to each other until they are told to stop.
  std::atomic<bool> stop{false};
  std::atomic<int> throws{0};
  std::function<void(int)> ball = [&](int to) {
    handles_[to]->Post([&, to] {
      ++throws;
      if (!stop) ball(1 - to);
    });
  };
  ball(0);
  groups_.StartQuiesce();
  // Both groups have quiesced, yet the barrier does not open.
  loops_[0].Do([] {});
  loops_[1].Do([] {});
  EXPECT_FALSE(groups_.StepDone());
  stop = true;
  ASSERT_TRUE(StepDone());
  const int seen = throws;
  groups_.StartCut();
  ASSERT_TRUE(StepDone());
  EXPECT_EQ(throws, seen) << "nothing ran after the barrier";
  groups_.Thaw();
  loops_[0].Do([&] { EXPECT_EQ(loops_[0].thawed, 1); });
}

TEST_F(GroupSetTest, WorkPostedAfterTheBarrierKeepsTheCutFromEnding) {
  groups_.StartQuiesce();
  ASSERT_TRUE(StepDone());
  groups_.StartCut();
  ASSERT_TRUE(StepDone());
  bool ran = false;
  handles_[0]->Post([&] { ran = true; });
  EXPECT_FALSE(groups_.StepDone()) << "it would be lost";
  EXPECT_TRUE(groups_.CutSpoiled());
  groups_.Thaw();
  loops_[0].Do([] {});
  EXPECT_TRUE(ran);
}

TEST_F(GroupSetTest, FrozenGroupsRunNothingUntilReleasedAndLoseWhatMoved) {
  const auto session = Open(0);
  groups_.StartRound(true);
  ASSERT_TRUE(StepDone());
  groups_.StartQuiesce();
  ASSERT_TRUE(StepDone());
  groups_.StartCut();
  ASSERT_TRUE(StepDone());
  EXPECT_GT(groups_.cut_at(), 0u);
  std::atomic<bool> ran{false};
  loops_[0].Post([&] { ran = true; });
  EXPECT_FALSE(ran);
  groups_.StartRelease({});
  ASSERT_TRUE(StepDone());
  loops_[0].Do([&] {
    EXPECT_EQ(loops_[0].released, 1u);
    EXPECT_EQ(loops_[0].thawed, 0);
  });
  EXPECT_TRUE(ran);
  EXPECT_EQ(session->fd("client"), -1) << "our copy is closed";
  EXPECT_EQ(roster_.size(), 0u);
}

TEST_F(GroupSetTest, AnAbortWhileQuiescingThawsEachGroupOnce) {
  groups_.StartQuiesce();
  groups_.Thaw();
  for (Loop& loop : loops_) {
    loop.Do([&] { EXPECT_EQ(loop.thawed, loop.quiesced); });
  }
}

TEST_F(GroupSetTest, WhatIsKeptStaysAndIsNamedOnce) {
  const auto kept = Open(0);
  const auto moves = Open(0);
  loops_[0].Do([&] { kept->Keep("TLS"); });
  groups_.StartRound(true);
  ASSERT_TRUE(StepDone());
  size_t named = 0;
  for (const GroupSnapshot& snapshot : groups_.TakeSnapshots()) {
    named += snapshot.kept.size();
  }
  EXPECT_EQ(named, 1u);
  loops_[0].Do([&] { kept->Changed(); });
  groups_.StartQuiesce();
  ASSERT_TRUE(StepDone());
  groups_.StartCut();
  ASSERT_TRUE(StepDone());
  for (const GroupSnapshot& snapshot : groups_.TakeSnapshots()) {
    EXPECT_TRUE(snapshot.kept.empty());
  }
  groups_.StartRelease({});
  ASSERT_TRUE(StepDone());
  EXPECT_EQ(roster_.size(), 1u);
  EXPECT_GE(kept->fd("client"), 0);
}

TEST_F(GroupSetTest, WhatCannotMoveIsNotCalledRefused) {
  const auto kept = Open(0);
  const auto other = Open(0);
  loops_[0].Do([&] { kept->Keep("TLS"); });
  roster_.RefuseType("t");
  groups_.StartRound(true);
  ASSERT_TRUE(StepDone());
  for (const GroupSnapshot& snapshot : groups_.TakeSnapshots()) {
    for (const v1::KeptSession& named : snapshot.kept) {
      EXPECT_EQ(named.refused(), named.id() == other->id()) << named.reason();
    }
  }
  groups_.Cancel();
}

TEST_F(GroupSetTest, WhatSnapshotRefusesStaysInThisHandoffAndMovesInTheNext) {
  const auto refused = Open(0);
  const auto moves = Open(0);
  groups_.StartRound(true);
  ASSERT_TRUE(StepDone());
  EXPECT_EQ(Items(), 2u);
  // It has been sent: now it becomes what the version cannot tell of.
  loops_[0].Do([&] {
    loops_[0].refuses = refused->id();
    refused->Changed();
  });
  groups_.StartQuiesce();
  ASSERT_TRUE(StepDone());
  groups_.StartCut();
  ASSERT_TRUE(StepDone());
  std::vector<v1::KeptSession> kept;
  for (const GroupSnapshot& snapshot : groups_.TakeSnapshots()) {
    EXPECT_TRUE(snapshot.items.empty());
    kept.insert(kept.end(), snapshot.kept.begin(), snapshot.kept.end());
  }
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].id(), refused->id());
  EXPECT_TRUE(kept[0].refused());
  EXPECT_EQ(kept[0].reason(), "version 1 has no words for it");
  const auto moved = roster_.Moved();
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved.at(0), std::vector<std::shared_ptr<Session>>{moves});
  groups_.Thaw();
  // The next successor's version has words for it.
  loops_[0].Do([&] { loops_[0].refuses = 0; });
  groups_.Begin({{"t", 2}});
  groups_.StartRound(true);
  ASSERT_TRUE(StepDone());
  EXPECT_EQ(Items(), 2u);
  groups_.Cancel();
}

TEST_F(GroupSetTest, AnErrorOfSnapshotIsReported) {
  Open(0);
  loops_[0].Do([&] { loops_[0].fail_snapshot = true; });
  groups_.StartRound(true);
  ASSERT_TRUE(StepDone());
  bool failed = false;
  for (const GroupSnapshot& snapshot : groups_.TakeSnapshots()) {
    failed |= absl::IsInternal(snapshot.status);
  }
  EXPECT_TRUE(failed);
  groups_.Cancel();
}

TEST_F(GroupSetTest, CloseReachesThePeerWhileADuplicateLives) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd peer(ends[1]);
  const UniqueFd duplicate(::dup(ends[0]));
  std::shared_ptr<Session> session;
  loops_[0].Do([&] {
    std::vector<NamedFd> fds;
    fds.push_back({"client", UniqueFd(ends[0])});
    session = handles_[0]->Open("t", std::move(fds));
    session->Close();
  });
  char byte;
  EXPECT_EQ(::recv(peer.get(), &byte, 1, MSG_DONTWAIT), 0) << "end of file";
}

TEST_F(GroupSetTest, AVisitorWaitsForAQuiescedGroupAndHoldsUpNoBarrier) {
  std::atomic<int> let_in{0};
  std::atomic<int> turned_away{0};
  const auto visit = [&](Group&, bool released) {
    EXPECT_FALSE(released);
    ++let_in;
  };
  groups_.Visit(0, visit);
  loops_[0].Do([] {});
  EXPECT_EQ(let_in.load(), 1);
  groups_.StartQuiesce();
  EXPECT_TRUE(groups_.quiescing());
  groups_.Visit(0, visit);
  groups_.Visit(0, visit, [&] { ++turned_away; });
  ASSERT_TRUE(StepDone()) << "visitors hold up the barrier";
  groups_.StartCut();
  ASSERT_TRUE(StepDone());
  groups_.Visit(0, visit, [&] { ++turned_away; });
  EXPECT_EQ(let_in.load(), 1) << "the group had quiesced";
  EXPECT_EQ(turned_away.load(), 1);
  groups_.Thaw();
  EXPECT_FALSE(groups_.quiescing());
  loops_[0].Do([] {});
  EXPECT_EQ(let_in.load(), 3) << "who waited, and who came while it was frozen";
  EXPECT_EQ(turned_away.load(), 1);
}

TEST_F(GroupSetTest, AVisitorWaitsForTheReleaseToo) {
  const auto moved = Open(0);
  groups_.StartRound(/*first=*/true);
  ASSERT_TRUE(StepDone());
  groups_.StartQuiesce();
  bool ended = false;
  bool after_release = false;
  groups_.Visit(0, [&](Group&, bool released) {
    ended = Roster::Ended(*moved);
    after_release = released;
  });
  ASSERT_TRUE(StepDone());
  groups_.StartCut();
  ASSERT_TRUE(StepDone());
  groups_.StartRelease({});
  ASSERT_TRUE(StepDone());
  loops_[0].Do([] {});
  EXPECT_TRUE(ended) << "it came before the release";
  std::vector<std::shared_ptr<Session>> sessions = {moved};
  EXPECT_EQ(roster_.WaitForEnd(sessions, absl::Now()), 0u)
      << "it moved, and has not ended";
  EXPECT_TRUE(sessions.empty());
  EXPECT_TRUE(after_release);
  groups_.ThawReleased();
  groups_.Visit(0, [&](Group&, bool released) { after_release = released; });
  loops_[0].Do([] {});
  EXPECT_FALSE(after_release) << "it serves again";
}

}  // namespace
}  // namespace handoff
