// What an operator may ask of a worker that serves, by Handoff::control().

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/handoff.h"
#include "server/worker.h"
#include "server/worker_client.h"

namespace handoff::server {
namespace {

// More than the kernel holds for a client that does not read.
constexpr size_t kMuch = 24 << 20;

using Client = WorkerClient;

class WorkerControlTest : public testing::Test {
 protected:
  WorkerControlTest()
      : count_(1000), rooms_(&info_, 10), worker_(&info_, &count_, &rooms_) {}

  void SetUp() override {
    char name[] = "/tmp/worker.XXXXXX";
    folder_ = ::mkdtemp(name);
    Options options;
    options.path = absl::StrCat(folder_, "/h");
    options.state_types = {
        {kHttp, kLowestStateVersion, kHighestStateVersion, nullptr}};
    auto started = Handoff::Start(options);
    ASSERT_TRUE(started.ok()) << started.status();
    handoff_ = *std::move(started);
    const auto listener = handoff_->Listen(kHttp, "tcp:127.0.0.1:0");
    ASSERT_TRUE(listener.ok()) << listener.status();
    socklen_t size = sizeof(address_);
    ::getsockname(*listener, reinterpret_cast<sockaddr*>(&address_), &size);
    worker_.SetHandle(handoff_->Register(&worker_));
    worker_.Listen(*listener);
    ASSERT_TRUE(handoff_->Ready().ok());
    thread_ = std::thread([this] { worker_.Run(); });
  }
  void TearDown() override {
    worker_.Stop();
    if (thread_.joinable()) thread_.join();
    worker_.Unregister();
    handoff_.reset();
    std::filesystem::remove_all(folder_);
  }

  Control& control() { return handoff_->control(); }
  std::future<absl::StatusOr<Control::Drained>> Drain(
      std::vector<uint64_t> sessions, bool all,
      absl::Duration time = kPatience) {
    return std::async(std::launch::async, [=, this] {
      return control().Drain(sessions, all, absl::Now() + time);
    });
  }
  // Runs `step` on the loop.
  void OnLoop(std::function<void()> step) {
    std::promise<void> done;
    worker_.Post([&] {
      step();
      done.set_value();
    });
    done.get_future().wait();
  }

  ServiceInfo info_;
  ConnectionCount count_;
  Rooms rooms_;
  Worker worker_;
  std::string folder_;
  sockaddr_in address_ = {};
  std::unique_ptr<Handoff> handoff_;
  std::thread thread_;
};

TEST_F(WorkerControlTest, AnIdleConnectionIsClosedAndTheOthersGoOn) {
  Client drained(address_);
  Client other(address_);
  const uint64_t id = drained.Id();
  EXPECT_NE(other.Id(), id);
  auto result = Drain({id}, /*all=*/false);
  EXPECT_TRUE(drained.Ended());
  const auto done = result.get();
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->asked, 1u);
  EXPECT_EQ(done->ended, 1u);
  EXPECT_FALSE(absl::StrContains(other.Whoami(), "Connection: close"));
}

TEST_F(WorkerControlTest, TheAnswerInFlightArrivesWholeAndTheNextIsTheLast) {
  Client idle(address_);
  EXPECT_NE(idle.Id(), 0u);
  Client reads(address_);
  reads.Ask(absl::StrCat("/stream?bytes=", kMuch));
  EXPECT_TRUE(absl::StrContains(reads.Until("\r\n\r\n"), "200 OK"));
  // Read when the answer before it is written.
  reads.Ask("/whoami");
  auto result = Drain({}, /*all=*/true);
  // Then the only worker has been asked, of both.
  EXPECT_TRUE(idle.Ended());
  OnLoop([] {});
  EXPECT_EQ(reads.Bytes(kMuch).size(), kMuch) << "the stream is not whole";
  const std::string last = reads.Until("}\n");
  EXPECT_TRUE(absl::StrContains(last, "Connection: close")) << last;
  EXPECT_TRUE(absl::StrContains(last, "\"requests\":2")) << last;
  EXPECT_TRUE(reads.Ended());
  const auto done = result.get();
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->asked, 2u);
  EXPECT_EQ(done->ended, 2u);
  EXPECT_EQ(done->cut_off, 0u);
}

TEST_F(WorkerControlTest, WhoDoesNotReadIsCutOffAtTheDeadline) {
  Client stuck(address_);
  stuck.Ask(absl::StrCat("/stream?bytes=", kMuch));
  ASSERT_EQ(stuck.Bytes(1), "H") << "no answer";
  const auto done = Drain({}, /*all=*/true, absl::Milliseconds(50)).get();
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->asked, 1u);
  EXPECT_EQ(done->cut_off, 1u);
  EXPECT_LT(stuck.Bytes(kMuch).size(), kMuch);
}

TEST_F(WorkerControlTest, WhoConnectsWhileAcceptingIsOffIsServedAfterwards) {
  Client before(address_);
  EXPECT_NE(before.Id(), 0u);
  ASSERT_TRUE(control().SetAccepting(false).ok());
  Client waits(address_);
  waits.Ask("/healthz");
  EXPECT_NE(before.Id(), 0u) << "who is there is served";
  EXPECT_EQ(control().GetStatus().sessions(), 1u);
  ASSERT_TRUE(control().SetAccepting(true).ok());
  EXPECT_TRUE(absl::StrContains(waits.Until("ok"), "200 OK"));
}

TEST_F(WorkerControlTest, AThawDoesNotSwitchAcceptingOn) {
  Client before(address_);
  EXPECT_NE(before.Id(), 0u);
  ASSERT_TRUE(control().SetAccepting(false).ok());
  OnLoop([this] { worker_.Quiesce(); });
  OnLoop([this] { worker_.Thaw(); });
  Client waits(address_);
  waits.Ask("/healthz");
  // The loop has polled meanwhile.
  for (int i = 0; i < 10; ++i) EXPECT_NE(before.Id(), 0u);
  EXPECT_EQ(control().GetStatus().sessions(), 1u);
  // Nor does switching it on end a quiesce.
  OnLoop([this] { worker_.Quiesce(); });
  ASSERT_TRUE(control().SetAccepting(true).ok());
  EXPECT_EQ(control().GetStatus().sessions(), 1u);
  OnLoop([this] { worker_.Thaw(); });
  EXPECT_TRUE(absl::StrContains(waits.Until("ok"), "200 OK"));
}

TEST_F(WorkerControlTest, AReleasedWorkerThatAcceptsNoMoreIsNotSwitchedOn) {
  OnLoop([this] { worker_.Release({}, {}); });
  ASSERT_TRUE(control().SetAccepting(false).ok());
  ASSERT_TRUE(control().SetAccepting(true).ok());
  Client waits(address_);
  for (int i = 0; i < 10; ++i) OnLoop([] {});
  EXPECT_EQ(control().GetStatus().sessions(), 0u);
  OnLoop([this] { worker_.Thaw(); });
  EXPECT_NE(waits.Id(), 0u) << "the successor crashed: it accepts again";
}

TEST_F(WorkerControlTest, WhatIsSaidWhileQuiescedArrivesAfterTheThaw) {
  Client client(address_);
  client.Join("r");
  for (int i = 1; i <= 100; ++i) {
    OnLoop([this] { worker_.Quiesce(); });
    ASSERT_TRUE(rooms_.Say("r", "y", absl::StrCat("said ", i)).ok());
    OnLoop([this] { worker_.Thaw(); });
    const std::string said = client.Until("}");
    ASSERT_TRUE(absl::StrContains(said, absl::StrCat("\"seq\":", i, ",")))
        << said;
  }
}

TEST_F(WorkerControlTest, StateIsReadOfAConnectionThatGoesOn) {
  Client client(address_);
  const uint64_t id = client.Id();
  for (int i = 0; i < 20; ++i) {
    client.Ask("/whoami");
    const auto states = control().ReadState({id}, absl::Now() + kPatience);
    ASSERT_TRUE(states.ok()) << states.status();
    ASSERT_EQ(states->size(), 1u);
    ASSERT_TRUE(states->front().status.ok()) << states->front().status;
    v1::HttpConnection state;
    ASSERT_TRUE(states->front().snapshot.state.UnpackTo(&state));
    EXPECT_TRUE(absl::StrContains(client.Until("}\n"), "200 OK"));
  }
}

}  // namespace
}  // namespace handoff::server
