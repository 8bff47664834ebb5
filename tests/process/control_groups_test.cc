// What an operator may ask of a process's groups, in a service that runs in
// this process; successors are processes of their own.

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/handoff.h"
#include "tests/process/toy.pb.h"
#include "tests/process/toy_group.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

constexpr int kGroups = 2;

// More than the kernel holds for a client that does not read.
constexpr size_t kFlood = 8'000'000;

absl::Time InTime() { return absl::Now() + kPatience; }

class ControlTest : public testing::Test {
 protected:
  void SetUp() override {
    Options options;
    options.path = folder_ / "h";
    StateType toy;
    toy.name = "toy";
    toy.highest = 2;
    StateType counters;
    counters.name = "counters";
    options.state_types = {toy, counters};
    options.deadlines.quiesce = kPatience;
    options.deadlines.frozen = kPatience;
    options.deadlines.watch = absl::Minutes(1);
    auto started = Handoff::Start(options);
    ASSERT_TRUE(started.ok()) << started.status();
    handoff_ = *std::move(started);
    auto listener = handoff_->Listen("toy", "tcp:127.0.0.1:0");
    ASSERT_TRUE(listener.ok()) << listener.status();
    sockaddr_in address = {};
    socklen_t size = sizeof(address);
    ::getsockname(*listener, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    world_.generation = 1;
    world_.send_buffer = 256 * 1024;
    for (int i = 0; i < kGroups; ++i) {
      groups_.push_back(std::make_unique<ToyGroup>(&world_, i));
      ASSERT_TRUE(groups_.back()->whole());
      world_.handles.push_back(handoff_->Register(groups_.back().get()));
      groups_.back()->SetHandle(world_.handles.back());
      groups_.back()->AddListener(*listener);
    }
    ASSERT_TRUE(handoff_->Ready().ok());
    for (auto& group : groups_) group->Run();
  }
  void TearDown() override {
    for (auto& group : groups_) group->Join();
    handoff_.reset();  // before the groups that it borrows
  }

  Control& control() { return handoff_->control(); }
  Settings Successor(Settings more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"},
                         {"watch", "60s"},
                         {"frame", "30s"},
                         {"frozen", "30s"}};
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  std::unique_ptr<ToyClient> Connect() {
    auto client = std::make_unique<ToyClient>(port_);
    EXPECT_EQ(client->Ask("echo a"), "echo a");
    return client;
  }
  // The id of the client's session, by its own word.
  static uint64_t IdOf(ToyClient& client) {
    return std::stoull(client.Ask("count"));
  }

  // Has the service write more than it can.
  void Flood(ToyClient& client) {
    const uint64_t id = IdOf(client);
    client.Send(absl::StrCat("flood ", kFlood, "\n"));
    for (const absl::Time until = InTime(); absl::Now() < until;) {
      const auto states = control().ReadState({id}, InTime());
      ASSERT_TRUE(states.ok()) << states.status();
      ASSERT_EQ(states->size(), 1u);
      if (!states->front().snapshot.output("client").empty()) return;
    }
    FAIL() << "the service writes nothing";
  }
  void AwaitState(const std::string& state) {
    for (const absl::Time until = InTime(); absl::Now() < until;) {
      if (control().GetStatus().state() == state) return;
      std::this_thread::yield();
    }
    FAIL() << "the service is " << control().GetStatus().state();
  }

  ShortFolder folder_;
  ToyWorld world_;
  std::vector<std::unique_ptr<ToyGroup>> groups_;
  std::unique_ptr<Handoff> handoff_;
  int port_ = 0;
};

TEST_F(ControlTest, OneSessionIsDrainedAndTheOthersGoOn) {
  const auto drained = Connect();
  const auto other = Connect();
  const uint64_t id = IdOf(*drained);
  const auto result = control().Drain({id}, /*all=*/false, InTime());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->asked, 1u);
  EXPECT_EQ(result->ended, 1u);
  EXPECT_EQ(result->cut_off, 0u);
  EXPECT_EQ(drained->Line(), "<end>");
  EXPECT_EQ(other->Ask("echo b"), "echo b");
  EXPECT_EQ(control().Drain({id}, false, InTime()).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ControlTest, AllSessionsAreDrainedAndTheAnswerInFlightArrivesWhole) {
  std::vector<std::unique_ptr<ToyClient>> idle;
  for (int i = 0; i < 300; ++i) idle.push_back(Connect());
  const auto reads = Connect();
  Flood(*reads);
  auto result = std::async(std::launch::async, [this] {
    return control().Drain({}, /*all=*/true, InTime());
  });
  for (auto& client : idle) ASSERT_EQ(client->Line(), "<end>");
  EXPECT_TRUE(reads->Line() == FloodPattern(kFlood)) << "it was cut short";
  EXPECT_EQ(reads->Line(), "<end>");
  const auto drained = result.get();
  ASSERT_TRUE(drained.ok()) << drained.status();
  EXPECT_EQ(drained->asked, 301u);
  EXPECT_EQ(drained->ended, 301u);
  EXPECT_EQ(drained->cut_off, 0u);
  EXPECT_EQ(Connect()->Ask("echo new"), "echo new") << "it goes on accepting";
}

TEST_F(ControlTest, WhoDoesNotReadItsAnswerIsCutOffAtTheDeadline) {
  const auto idle = Connect();
  const auto stuck = Connect();
  Flood(*stuck);
  const auto drained =
      control().Drain({}, true, absl::Now() + absl::Milliseconds(100));
  ASSERT_TRUE(drained.ok()) << drained.status();
  EXPECT_EQ(drained->asked, 2u);
  EXPECT_EQ(drained->ended, 1u);
  EXPECT_EQ(drained->cut_off, 1u);
  EXPECT_EQ(control().GetStatus().sessions(), 0u);
}

TEST_F(ControlTest, ADrainThatTheEndOvertakesCutsNobodyOff) {
  const auto idle = Connect();
  const auto reads = Connect();
  Flood(*reads);
  auto result = std::async(std::launch::async, [this] {
    return control().Drain({}, /*all=*/true, InTime());
  });
  EXPECT_EQ(idle->Line(), "<end>");
  handoff_->Stop();
  EXPECT_EQ(result.get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(control().Drain({}, true, InTime()).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_TRUE(reads->Line() == FloodPattern(kFlood)) << "it was cut short";
  EXPECT_EQ(reads->Line(), "<end>");
}

TEST_F(ControlTest, NothingIsThereToDrain) {
  const auto all = control().Drain({}, true, InTime());
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->asked, 0u);
  EXPECT_EQ(control().Drain({1, 2}, false, InTime()).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ControlTest, AHandoffGoesOnWhileSomebodyWaitsForADrain) {
  const auto stuck = Connect();
  const auto other = Connect();
  const std::vector<uint64_t> ids = {IdOf(*stuck), IdOf(*other)};
  Flood(*stuck);
  auto result = std::async(std::launch::async, [this, ids] {
    return control().Drain(ids, /*all=*/false, InTime());
  });
  EXPECT_EQ(other->Line(), "<end>");
  ToyProcess second(Successor());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  const auto drained = result.get();
  ASSERT_TRUE(drained.ok()) << drained.status();
  EXPECT_EQ(drained->asked, 2u);
  EXPECT_EQ(drained->ended, 1u);
  EXPECT_EQ(drained->cut_off, 0u) << "it has moved";
  EXPECT_TRUE(stuck->Line() == FloodPattern(kFlood)) << "it was cut short";
  EXPECT_EQ(Who(*stuck)[0], absl::StrCat(second.pid()));
}

TEST_F(ControlTest, WhileAHandoffFreezesTheGroupsTheyAreLeftAlone) {
  const auto client = Connect();
  const uint64_t id = IdOf(*client);
  ToyProcess second(Successor({{"stop_at", "final-decoded"},
                               {"signal", absl::StrCat(SIGSTOP)}}));
  ASSERT_NE(second.WaitFor("event final-decoded"), "") << second.Said();
  EXPECT_EQ(control().Drain({id}, false, InTime()).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(control().SetAccepting(false).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(control().ReadState({id}, InTime()).status().code(),
            absl::StatusCode::kUnavailable);
  second.Signal(SIGKILL);
  AwaitState("serving");
  EXPECT_EQ(client->Ask("echo b"), "echo b");
  EXPECT_TRUE(control().ReadState({id}, InTime()).ok());
  EXPECT_TRUE(control().SetAccepting(true).ok());
}

TEST_F(ControlTest, WhoConnectsWhileNobodyAcceptsIsServedAfterwards) {
  const auto before = Connect();
  ASSERT_TRUE(control().SetAccepting(false).ok());
  EXPECT_FALSE(control().GetStatus().accepting());
  ToyClient waits(port_);
  ASSERT_TRUE(waits.connected()) << "it was refused";
  waits.Send("echo b\n");
  EXPECT_EQ(before->Ask("echo a"), "echo a") << "who is there is served";
  EXPECT_EQ(control().GetStatus().sessions(), 1u);
  ASSERT_TRUE(control().SetAccepting(true).ok());
  EXPECT_TRUE(control().GetStatus().accepting());
  EXPECT_EQ(waits.Line(), "echo b");
}

TEST_F(ControlTest, ASuccessorAcceptsWhatItsPredecessorWasToldNotTo) {
  ASSERT_TRUE(control().SetAccepting(false).ok());
  ToyClient waits(port_);
  ASSERT_TRUE(waits.connected());
  waits.Send("who\n");
  ToyProcess second(Successor());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(waits.Line(), absl::StrCat(second.pid(), " 2 0 1"));
  EXPECT_EQ(control().SetAccepting(true).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ControlTest, StateIsReadWhileClientsTalkAndMovesAsIfItHadNotBeen) {
  std::vector<std::unique_ptr<ToyClient>> clients;
  std::vector<uint64_t> ids;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(Connect());
    ids.push_back(IdOf(*clients.back()));
  }
  clients[0]->Send("echo ha");  // half a line
  EXPECT_EQ(clients[1]->Ask("keep"), "ok");
  std::atomic<bool> over{false};
  std::thread talk([&] {
    while (!over) EXPECT_EQ(clients[2]->Ask("echo b"), "echo b");
  });
  ids.push_back(7);  // nobody
  for (int i = 0; i < 10; ++i) {
    const auto states = control().ReadState(ids, InTime());
    ASSERT_TRUE(states.ok()) << states.status();
    ASSERT_EQ(states->size(), 300u);
    for (size_t s = 0; s < states->size(); ++s) {
      const Control::SessionState& state = (*states)[s];
      ASSERT_EQ(state.session, ids[s]);
      if (s == 1) {
        EXPECT_EQ(state.status.code(), absl::StatusCode::kFailedPrecondition)
            << "it is kept";
        continue;
      }
      ASSERT_TRUE(state.status.ok()) << state.status;
      EXPECT_EQ(state.snapshot.version, 2u);
      ToyState toy;
      ASSERT_TRUE(state.snapshot.state.UnpackTo(&toy));
      ASSERT_GE(toy.lines(), 2u);
      ASSERT_EQ(state.snapshot.bytes.size(), 1u);
    }
  }
  ToyProcess second(Successor());
  EXPECT_TRUE(second.WaitReady()) << second.Said();
  over = true;
  talk.join();
  EXPECT_EQ(clients[0]->Ask(""), "echo ha");
  for (size_t s = 3; s < clients.size(); ++s) {
    ASSERT_EQ(clients[s]->Ask("who"), absl::StrCat(second.pid(), " 2 1 3"));
  }
  AwaitState("watching");
  const auto moved = control().ReadState(ids, InTime());
  ASSERT_TRUE(moved.ok()) << moved.status();
  EXPECT_EQ(moved->size(), 1u) << "but the one that stayed";
}

TEST_F(ControlTest, TheInventoryHasWhatTheKernelSaysAndWhoCannotMove) {
  const auto client = Connect();
  const auto stays = Connect();
  ASSERT_EQ(stays->Ask("keep"), "ok");
  std::vector<v1::InventoryItem> sessions;
  for (v1::InventoryItem& item : control().GetInventory()) {
    ASSERT_EQ(item.details_size(), item.descriptors_size())
        << item.ShortDebugString();
    if (item.category() == "session") {
      sessions.push_back(std::move(item));
      continue;
    }
    EXPECT_EQ(item.group(), -1) << item.ShortDebugString();
    if (item.category() == "listener") {
      EXPECT_GT(item.details(0).send_queue(), 0u) << "its backlog";
    }
  }
  ASSERT_EQ(sessions.size(), 2u);
  for (const v1::InventoryItem& item : sessions) {
    EXPECT_GE(item.group(), 0);
    EXPECT_LT(item.group(), kGroups);
    EXPECT_GT(item.details(0).tcp().consumed(), 0u);
    EXPECT_GT(item.details(0).options_size(), 0);
  }
  EXPECT_EQ(sessions[0].keep_reason(), "");
  EXPECT_EQ(sessions[1].keep_reason(), "asked to stay");
}

}  // namespace
}  // namespace handoff::toy
