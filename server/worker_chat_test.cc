// Two workers with members of one room, cut while one of them says something.

#include <netinet/in.h>
#include <sys/socket.h>

#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/group_set.h"
#include "handoff/roster.h"
#include "server/worker.h"
#include "server/worker_client.h"

namespace handoff::server {
namespace {

constexpr int kCuts = 50;

// A worker with a loop, a listener of its own, and something to do when it
// quiesces.
class Cut final : public Group {
 public:
  Cut(ServiceInfo* info, ConnectionCount* count, Rooms* rooms)
      : worker_(info, count, rooms),
        listener_(
            ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address_);
    auto* address = reinterpret_cast<sockaddr*>(&address_);
    EXPECT_EQ(::bind(listener_.get(), address, size), 0);
    EXPECT_EQ(::listen(listener_.get(), 10), 0);
    EXPECT_EQ(::getsockname(listener_.get(), address, &size), 0);
  }

  void Run(GroupHandle* handle) {
    worker_.SetHandle(handle);
    worker_.Listen(listener_.get());
    thread_ = std::thread([this] { worker_.Run(); });
  }
  void Stop() {
    worker_.Stop();
    thread_.join();
    worker_.Unregister();
  }
  const sockaddr_in& address() const { return address_; }

  // Group:
  void Post(std::function<void()> fn) override { worker_.Post(std::move(fn)); }
  absl::Status Snapshot(Session& session, SessionWriter& writer) override {
    return worker_.Snapshot(session, writer);
  }
  void Quiesce() override {
    before_quiesce();
    worker_.Quiesce();
    after_quiesce();
  }
  void Thaw() override { worker_.Thaw(); }
  void Release(absl::Span<const std::shared_ptr<Session>> moved,
               absl::Span<const std::string> unclaimed) override {
    worker_.Release(moved, unclaimed);
  }

  std::function<void()> before_quiesce = [] {};
  std::function<void()> after_quiesce = [] {};

 private:
  Worker worker_;
  UniqueFd listener_;
  sockaddr_in address_ = {};
  std::thread thread_;
};

class WorkerChatTest : public testing::Test {
 protected:
  WorkerChatTest()
      : count_(10),
        rooms_(&info_, 10),
        groups_(&roster_, [this] { Wake(); }),
        says_(&info_, &count_, &rooms_),
        hears_(&info_, &count_, &rooms_) {
    for (Cut* cut : {&says_, &hears_}) cut->Run(groups_.Register(cut));
  }
  ~WorkerChatTest() override {
    says_.Stop();
    hears_.Stop();
  }

  void Wake() {
    std::lock_guard<std::mutex> lock(mu_);
    ++wakes_;
    woken_.notify_all();
  }
  // Waits for the step that was started last.
  bool StepDone() {
    const absl::Time deadline = absl::Now() + kPatience;
    std::unique_lock<std::mutex> lock(mu_);
    for (int seen = wakes_;; seen = wakes_) {
      lock.unlock();
      if (groups_.StepDone()) return true;
      lock.lock();
      if (!woken_.wait_until(lock, absl::ToChronoTime(deadline),
                             [&] { return seen != wakes_; })) {
        return false;
      }
    }
  }
  // The live round, and the barrier, and the cut.
  bool CutAll() {
    groups_.Begin({{kHttp, kHighestStateVersion}});
    groups_.StartRound(/*first=*/true);
    if (!StepDone()) return false;
    groups_.TakeSnapshots();
    groups_.StartQuiesce();
    if (!StepDone()) return false;
    groups_.StartCut();
    return StepDone() && !groups_.CutSpoiled();
  }

  std::mutex mu_;
  std::condition_variable woken_;
  int wakes_ = 0;
  ServiceInfo info_;
  ConnectionCount count_;
  Rooms rooms_;
  Roster roster_;
  GroupSet groups_;
  Cut says_;
  Cut hears_;
};

TEST_F(WorkerChatTest, WhatIsSaidAtTheQuiesceOfAnotherIsInEveryOutputAtTheCut) {
  WorkerClient clients[] = {WorkerClient(says_.address()),
                            WorkerClient(hears_.address())};
  for (WorkerClient& client : clients) client.Join("r");
  for (uint64_t seq = 1; seq <= kCuts; ++seq) {
    std::promise<void> quiesced;
    hears_.after_quiesce = [&] { quiesced.set_value(); };
    says_.before_quiesce = [&] {
      EXPECT_EQ(
          quiesced.get_future().wait_for(absl::ToChronoMilliseconds(kPatience)),
          std::future_status::ready);
      EXPECT_TRUE(rooms_.Say("r", "x", absl::StrCat("said ", seq)).ok());
    };
    const bool cut = CutAll();
    std::set<uint64_t> told;
    for (const GroupSnapshot& snapshot : groups_.TakeSnapshots()) {
      for (const GroupSnapshot::Item& item : snapshot.items) {
        v1::HttpConnection state;
        EXPECT_TRUE(item.record.state().UnpackTo(&state));
        EXPECT_EQ(state.websocket().seats(0).last_seq(), seq);
        const std::string& output = item.record.descriptors(0).output();
        EXPECT_TRUE(absl::StrContains(output, absl::StrCat("said ", seq)))
            << output;
        told.insert(item.record.id());
      }
    }
    EXPECT_EQ(rooms_.Save(kHighestRoomsVersion).rooms(0).seq(), seq);
    groups_.Thaw();
    ASSERT_TRUE(cut);
    EXPECT_EQ(told.size(), 2u) << "of two members, at the cut";
    for (WorkerClient& client : clients) {
      const std::string said = client.Until("}");
      ASSERT_TRUE(absl::StrContains(said, absl::StrCat("\"seq\":", seq, ",")))
          << said;
    }
  }
}

}  // namespace
}  // namespace handoff::server
