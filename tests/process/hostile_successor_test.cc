// Whoever connects to a service's handoff socket and does not keep to the
// protocol: refused with the reason on both sides, while a client is served.

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/protocol/settings.h"
#include "tests/process/hostile_peer.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

constexpr uid_t kStranger = 65533;

v1::Frame GoodHello() {
  v1::Frame frame;
  frame.set_must_understand(true);
  v1::Hello& hello = *frame.mutable_hello();
  hello.set_lowest_protocol(kLowestProtocol);
  hello.set_highest_protocol(kHighestProtocol);
  hello.set_label("hostile");
  hello.set_descriptor_headroom(10'000);
  for (const char* name : {"toy", "counters"}) {
    v1::StateType& reads = *hello.add_reads();
    reads.set_name(name);
    reads.set_lowest(1);
    reads.set_highest(2);
  }
  return frame;
}

struct Pipe {
  Pipe() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    in = UniqueFd(ends[0]);
    out = UniqueFd(ends[1]);
  }
  UniqueFd in;
  UniqueFd out;
};

class HostileSuccessorTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {
        {"handoff", folder_ / "h"}, {"hello", "60s"}, {"watch", "1ms"}};
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  HostilePeer Connected() const {
    return HostilePeer(ConnectToPath(folder_ / "h"));
  }

  ShortFolder folder_;
};

TEST_F(HostileSuccessorTest,
       AFirstFrameThatMakesNoSenseIsRefusedWithTheReason) {
  ToyProcess service(With());
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  const Pipe pipe;
  const UniqueFd one(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const UniqueFd other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto pipe_is = DescribeDescriptor(pipe.in.get());
  const auto one_is = DescribeDescriptor(one.get());
  const auto other_is = DescribeDescriptor(other.get());
  ASSERT_TRUE(pipe_is.ok() && one_is.ok() && other_is.ok());
  v1::Frame ready;
  ready.mutable_ready();

  struct Attack {
    std::string name;
    std::function<void(HostilePeer&)> attack;
    std::string reason;
  };
  const std::vector<Attack> attacks = {
      {"half a Hello",
       [](HostilePeer& peer) {
         v1::Frame hello = GoodHello();
         hello.set_seq(1);
         const std::string bytes = hello.SerializeAsString();
         peer.SendBytes(bytes.substr(0, bytes.size() / 2));
       },
       "a message is no frame"},
      {"too large",
       [](HostilePeer& peer) {
         peer.SendBytes(std::string(kMaxMessageBytes + 1, 'x'));
       },
       absl::StrCat("a message is longer than ", kMaxMessageBytes,
                    " bytes (MSG_TRUNC)")},
      {"more descriptors said than sent",
       [](HostilePeer& peer) {
         peer.Send(GoodHello(), {peer.pidfd()},
                   [](v1::Frame& frame) { frame.set_descriptor_count(2); });
       },
       "frame 1 came with 1 descriptors, says 2 and describes 1"},
      {"more descriptors described than sent",
       [](HostilePeer& peer) {
         peer.Send(GoodHello(), {peer.pidfd()}, [](v1::Frame& frame) {
           *frame.add_descriptors() = frame.descriptors(0);
         });
       },
       "frame 1 came with 1 descriptors, says 1 and describes 2"},
      {"the wrong number",
       [](HostilePeer& peer) {
         peer.Send(GoodHello(), {peer.pidfd()},
                   [](v1::Frame& frame) { frame.set_seq(7); });
       },
       "a frame has number 7, the next is 1"},
      {"a pipe that is said to be a connection",
       [&](HostilePeer& peer) {
         peer.Send(GoodHello(), {peer.pidfd(), pipe.in.get()},
                   [&](v1::Frame& frame) {
                     *frame.mutable_descriptors(1) = *one_is;
                   });
       },
       std::string(CheckDescriptor(pipe.in.get(), *one_is).message())},
      {"another socket in the place of one",
       [&](HostilePeer& peer) {
         peer.Send(GoodHello(), {peer.pidfd(), one.get()},
                   [&](v1::Frame& frame) {
                     *frame.mutable_descriptors(1) = *other_is;
                   });
       },
       std::string(CheckDescriptor(one.get(), *other_is).message())},
      {"Ready before Hello",
       [&](HostilePeer& peer) { peer.Send(ready, {peer.pidfd()}); },
       "the first frame is neither hello nor query"},
  };
  const Footprint before(service.pid());
  {
    SteadyClient client(service.port());
    for (int round = 0; round < 3; ++round) {
      for (const Attack& attack : attacks) {
        SCOPED_TRACE(attack.name);
        HostilePeer peer = Connected();
        attack.attack(peer);
        EXPECT_EQ(peer.Verdict(), "MALFORMED: " + attack.reason);
        EXPECT_EQ(peer.Verdict(), "<end>");
        EXPECT_EQ(service.WaitFor("event "), "event rejected " + attack.reason)
            << service.Said();
      }
    }
  }
  before.ExpectUnchanged();
}

TEST_F(HostileSuccessorTest, WhoeverSaysNothingIsRefusedAtTheDeadline) {
  ToyProcess service(With({{"hello", "200ms"}}));
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  const Footprint before(service.pid());
  {
    SteadyClient client(service.port());
    HostilePeer peer = Connected();
    EXPECT_EQ(peer.Verdict(), "MALFORMED: no hello in time");
    EXPECT_EQ(peer.Verdict(), "<end>");
    EXPECT_EQ(service.WaitFor("event "), "event rejected no hello in time");
  }
  before.ExpectUnchanged();
}

TEST_F(HostileSuccessorTest, AThousandConnectionsHoldUpNobodyForLong) {
  // Of which 64 are held and 129 wait in the queue; to the others the kernel
  // says that it is full.
  constexpr size_t kHeld = 64;
  ToyProcess service(With());
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  const Footprint before(service.pid());
  std::map<std::string, int> table = DescriptorTable(service.pid());
  table["socket"] += kHeld + 1;  // and the client's
  {
    SteadyClient client(service.port());
    std::vector<UniqueFd> silent;
    const auto fill = [&] {
      for (int i = 0; i < 1000; ++i) {
        UniqueFd socket = ConnectToPath(folder_ / "h");
        if (socket.valid()) silent.push_back(std::move(socket));
      }
    };
    fill();
    EXPECT_EQ(SettledTable(service.pid(), table), table)
        << "holds more connections, or fewer, than it is meant to";
    // What it has accepted meanwhile has left room in the queue.
    fill();
    EXPECT_LT(silent.size(), 300u);
    ToyProcess told(With());
    EXPECT_EQ(told.WaitFor("failed "),
              absl::StrCat("failed UNAVAILABLE: connect ", folder_ / "h",
                           ": somebody listens, but does not accept: its queue "
                           "is full"))
        << told.Said();
    EXPECT_EQ(told.WaitExit(), 1);
    EXPECT_EQ(SettledTable(service.pid(), table), table);
  }
  before.ExpectUnchanged();
}

TEST_F(HostileSuccessorTest, ASuccessorGetsInAmongTheSilentOnes) {
  ToyProcess service(With({{"hello", "2s"}}));
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  std::unique_ptr<ToyProcess> successor;
  SteadyClient client(service.port());
  // They are refused at the deadline one after the other, and the successor,
  // which waits behind them in the queue, has its turn.
  std::vector<HostilePeer> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(Connected());
  successor = std::make_unique<ToyProcess>(With());
  ASSERT_TRUE(successor->WaitReady()) << successor->Said() << service.Said();
  EXPECT_EQ(successor->port(), service.port());
  EXPECT_EQ(silent.front().Verdict(), "MALFORMED: no hello in time");
  EXPECT_EQ(service.WaitExit(), 0) << service.Said();
}

TEST_F(HostileSuccessorTest, AnotherUserIsRefusedOnAConnectionThatItWasGiven) {
  if (::geteuid() != 0) GTEST_SKIP() << "becoming another user takes root";
  ToyProcess service(With());
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  const Footprint before(service.pid());
  UniqueFd socket = ConnectToPath(folder_ / "h");
  ASSERT_TRUE(socket.valid());
  v1::Frame hello = GoodHello();
  hello.set_seq(1);
  // Root's connection, another user's words. Forked before there is a thread.
  ForkedChild child([&] {
    if (!BecomeUser(kStranger)) return kCannotBecomeUser;
    return SendMessage(socket.get(), hello.SerializeAsString(), {}).ok() ? 0
                                                                         : 1;
  });
  {
    SteadyClient client(service.port());
    ASSERT_EQ(child.Wait(), 0);
    const std::string reason =
        absl::StrCat("the peer, process ", child.pid(), ", is of user ",
                     kStranger, "; expected one of: 0");
    HostilePeer peer(std::move(socket));
    EXPECT_EQ(peer.Verdict(), "CREDENTIALS: " + reason);
    EXPECT_EQ(peer.Verdict(), "<end>");
    EXPECT_EQ(service.WaitFor("event "), "event rejected " + reason);
  }
  before.ExpectUnchanged();
}

TEST_F(HostileSuccessorTest, AnotherUserCannotReachThePath) {
  if (::geteuid() != 0) GTEST_SKIP() << "becoming another user takes root";
  ToyProcess service(With());
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  const Footprint before(service.pid());
  {
    SteadyClient client(service.port());
    ToyProcess stranger(With({{"uid", absl::StrCat(kStranger)}}));
    EXPECT_TRUE(absl::StartsWith(stranger.WaitFor("failed "),
                                 "failed PERMISSION_DENIED: "))
        << stranger.Said();
    EXPECT_EQ(stranger.WaitExit(), 1);
  }
  before.ExpectUnchanged();
}

TEST_F(HostileSuccessorTest, AChildThatBecomesAnotherUserIsRefusedOnItsSocket) {
  if (::geteuid() != 0) GTEST_SKIP() << "becoming another user takes root";
  const std::string script = folder_ / "child";
  std::ofstream(script)
      << "#!/bin/sh\nexec "
      << std::filesystem::read_symlink("/proc/self/exe").string()
      << " \"$@\" uid=" << kStranger << "\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  ToyProcess service(With({{"exe", script}}));
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  const Footprint before(service.pid());
  {
    SteadyClient client(service.port());
    service.Signal(SIGUSR2);
    const std::string rejected = service.WaitFor("event rejected");
    EXPECT_TRUE(absl::StrContains(
        rejected,
        absl::StrCat("is of user ", kStranger, "; expected one of: 0")))
        << service.Said();
    // It says itself why it failed, on its parent's output.
    EXPECT_NE(service.WaitFor("event child-ended"), "") << service.Said();
  }
  before.ExpectUnchanged();
}

TEST_F(HostileSuccessorTest, APathThatIsNotPrivateIsNoPath) {
  const auto failure = [&](const Settings& settings) {
    ToyProcess process(settings);
    const std::string line = process.WaitFor("failed ");
    EXPECT_EQ(process.WaitExit(), 1) << process.Said();
    return line;
  };
  ToyProcess service(With());
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  SteadyClient client(service.port());

  const std::string link = folder_ / "l";
  std::filesystem::create_symlink(folder_ / "h", link);
  EXPECT_EQ(failure(With({{"handoff", link}})),
            absl::StrCat("failed INVALID_ARGUMENT: ", link, " is no socket"));
  EXPECT_TRUE(std::filesystem::is_symlink(link));

  const std::string open = folder_ / "open";
  std::filesystem::create_directory(open);
  std::filesystem::permissions(open, std::filesystem::perms::all);
  EXPECT_EQ(failure(With({{"handoff", open + "/h"}})),
            absl::StrCat("failed INVALID_ARGUMENT: others than its owner may "
                         "write the folder ",
                         open, "; use one of mode 0700"));
  EXPECT_TRUE(std::filesystem::is_empty(open));

  const UniqueFd lock(::open((folder_ / "h.lock").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(failure(With({{"hello", "200ms"}})),
            absl::StrCat("failed DEADLINE_EXCEEDED: another process holds ",
                         folder_ / "h.lock"));
}

// The blobs that come before a frame of this kind; those that are not inline
// empty.
std::map<std::string, google::protobuf::Any> BlobsUpTo(v1::Frame::BodyCase last,
                                                       HostilePeer& peer) {
  std::map<std::string, google::protobuf::Any> blobs;
  while (true) {
    const v1::Frame frame = peer.Receive();
    if (frame.body_case() == last ||
        frame.body_case() == v1::Frame::BODY_NOT_SET) {
      return blobs;
    }
    for (const auto& entry : frame.blobs().entries()) {
      blobs[entry.name()] = entry.value();
    }
    v1::Frame ack;
    ack.mutable_batch_ack()->set_seq(frame.seq());
    if (!frame.has_offer()) peer.Send(ack);
  }
}

// One of an earlier version would call them refused, in its ledger.
TEST_F(HostileSuccessorTest, EventsAreSentOnlyToWhoeverSaysThatItReadsThem) {
  ToyProcess service(With());
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  HostilePeer peer = Connected();
  peer.Send(GoodHello(), {peer.pidfd()});
  EXPECT_EQ(BlobsUpTo(v1::Frame::kPreCopied, peer).count("handoff.events"), 0u);
  v1::Frame ready;
  ready.mutable_ready();
  peer.Send(ready);
  EXPECT_EQ(BlobsUpTo(v1::Frame::kFinal, peer).count("handoff.events.tail"),
            0u);
}

TEST_F(HostileSuccessorTest, AtTheCutOnlyTheEventsAreSentThatCameSince) {
  ToyProcess service(With());
  ASSERT_TRUE(service.WaitReady()) << service.Said();
  HostilePeer peer = Connected();
  v1::Frame hello = GoodHello();
  hello.mutable_hello()->add_reads()->set_name("handoff.events");
  peer.Send(hello, {peer.pidfd()});
  v1::EventHistory events;
  ASSERT_TRUE(BlobsUpTo(v1::Frame::kPreCopied, peer)["handoff.events"].UnpackTo(
      &events));
  ASSERT_GT(events.events_size(), 0);
  EXPECT_EQ(events.events(0).kind(), "started");
  v1::Frame ready;
  ready.mutable_ready();
  peer.Send(ready);
  v1::EventHistory tail;
  ASSERT_TRUE(
      BlobsUpTo(v1::Frame::kFinal, peer)["handoff.events.tail"].UnpackTo(
          &tail));
  ASSERT_GT(tail.events_size(), 0);
  EXPECT_EQ(tail.events(0).sequence(),
            events.events().rbegin()->sequence() + 1);
  EXPECT_EQ(tail.events().rbegin()->kind(), "cut");
}

}  // namespace
}  // namespace handoff::toy
