#include "handoff/transport/channel.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/memfd.h"
#include "handoff/fd/scm_rights.h"

namespace handoff {
namespace {

constexpr uid_t kStranger = 12346;

absl::Time Soon() { return absl::Now() + absl::Seconds(30); }

struct Sockets {
  UniqueFd a;
  UniqueFd b;
};

Sockets MakeSockets() {
  int pair[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

Channel MakeChannel(UniqueFd socket, Channel::Options options = {}) {
  absl::StatusOr<Channel> channel =
      Channel::Create(std::move(socket), std::move(options));
  EXPECT_TRUE(channel.ok()) << channel.status();
  return *std::move(channel);
}

struct Channels {
  Channel a;
  Channel b;
};

Channels MakeChannels(const Channel::Options& options = {}) {
  Sockets sockets = MakeSockets();
  return {MakeChannel(std::move(sockets.a), options),
          MakeChannel(std::move(sockets.b), options)};
}

UniqueFd MakeMemfdOrDie() {
  absl::StatusOr<UniqueFd> fd = MakeMemfd("channel-test");
  EXPECT_TRUE(fd.ok()) << fd.status();
  return *std::move(fd);
}

v1::Frame MakeHello(const std::string& label) {
  v1::Frame frame;
  frame.mutable_hello()->set_label(label);
  return frame;
}

absl::StatusCode ReceiveCode(Channel& channel) {
  return channel.Receive().status().code();
}

TEST(ChannelTest, FramesArriveInOrderWithTheirDescriptors) {
  const NoDescriptorLeak no_leak;
  Channels channels = MakeChannels();
  const UniqueFd file = MakeMemfdOrDie();
  EXPECT_EQ(channels.b.peer(), nullptr);
  EXPECT_EQ(ReceiveCode(channels.b), absl::StatusCode::kUnavailable);

  v1::Frame hello = MakeHello("one");
  ASSERT_TRUE(channels.a.Send(hello, {file.get(), file.get()}).ok());
  v1::Frame ready;
  ready.mutable_ready()->add_unclaimed("two");
  ASSERT_TRUE(channels.a.Send(ready, {}).ok());

  absl::StatusOr<IncomingFrame> first = channels.b.Receive();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->frame.seq(), 1u);
  EXPECT_EQ(first->frame.hello().label(), "one");
  EXPECT_EQ(first->frame.descriptor_count(), 2u);
  ASSERT_EQ(first->descriptors.size(), 2u);
  absl::StatusOr<v1::DescriptorInfo> sent = DescribeDescriptor(file.get());
  ASSERT_TRUE(sent.ok()) << sent.status();
  for (const UniqueFd& fd : first->descriptors) {
    EXPECT_TRUE(CheckDescriptor(fd.get(), *sent).ok());
    EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  }
  ASSERT_NE(channels.b.peer(), nullptr);
  EXPECT_EQ(channels.b.peer()->credentials.pid, ::getpid());
  EXPECT_TRUE(channels.b.peer()->pidfd.valid());
  EXPECT_EQ(channels.a.peer(), nullptr) << "nothing has come from there";

  absl::StatusOr<IncomingFrame> second = channels.b.Receive();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->frame.seq(), 2u);
  EXPECT_EQ(second->frame.ready().unclaimed(0), "two");
}

TEST(ChannelTest, WhatTheFrameDescribesAlreadyIsSentAsItIs) {
  const NoDescriptorLeak no_leak;
  Channels channels = MakeChannels();
  const UniqueFd first = MakeMemfdOrDie();
  const UniqueFd second = MakeMemfdOrDie();
  v1::Frame frame = MakeHello("x");
  *frame.add_descriptors() = *DescribeDescriptor(first.get());
  ASSERT_TRUE(
      channels.a.Send(frame, {first.get(), second.get()}, /*described=*/1)
          .ok());
  absl::StatusOr<IncomingFrame> incoming = channels.b.Receive();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  EXPECT_EQ(incoming->descriptors.size(), 2u);

  // The receiver finds out where that was wrong.
  frame.mutable_descriptors(1)->CopyFrom(frame.descriptors(0));
  ASSERT_TRUE(
      channels.a.Send(frame, {first.get(), second.get()}, /*described=*/2)
          .ok());
  EXPECT_EQ(ReceiveCode(channels.b), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(channels.a.Send(frame, {first.get()}, /*described=*/2).ok());
}

TEST(ChannelTest, OnlyTheFirstFrameCostsAPidfd) {
  const NoDescriptorLeak no_leak;
  Channels channels = MakeChannels();
  v1::Frame frame = MakeHello("x");
  ASSERT_TRUE(channels.a.Send(frame, {}).ok());
  ASSERT_TRUE(channels.b.Receive().ok());
  ASSERT_TRUE(channels.a.Send(frame, {}).ok());
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(channels.b.fd());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_FALSE(message->pidfd.valid());
  EXPECT_TRUE(message->credentials.has_value());
}

TEST(ChannelTest, TakesOnlyAConnectedSeqpacketSocket) {
  const NoDescriptorLeak no_leak;
  const auto refused = [](UniqueFd socket) {
    return Channel::Create(std::move(socket), {}).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const UniqueFd other(pair[1]);
  EXPECT_TRUE(refused(UniqueFd(pair[0]))) << "stream";
  EXPECT_TRUE(refused(UniqueFd(::socket(AF_INET, SOCK_STREAM, 0)))) << "tcp";
  EXPECT_TRUE(refused(MakeMemfdOrDie())) << "file";
  EXPECT_TRUE(refused(UniqueFd())) << "nothing";
  UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
  const sockaddr unnamed = {AF_UNIX, {}};
  ASSERT_EQ(::bind(listener.get(), &unnamed, sizeof(unnamed.sa_family)), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_TRUE(refused(std::move(listener))) << "listener";
  EXPECT_TRUE(refused(UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET, 0))))
      << "not connected";

  const Channels channels = MakeChannels();
  EXPECT_NE(::fcntl(channels.a.fd(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(ChannelTest, EndOfFileComesAfterTheLastFrame) {
  const NoDescriptorLeak no_leak;
  Sockets sockets = MakeSockets();
  Channel b = MakeChannel(std::move(sockets.b));
  v1::Frame frame = MakeHello("last");
  {
    Channel a = MakeChannel(std::move(sockets.a));
    ASSERT_TRUE(a.Send(frame, {}).ok());
  }
  EXPECT_TRUE(b.Receive().ok());
  EXPECT_EQ(ReceiveCode(b), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(b.Send(frame, {}).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(b.SendBefore(Soon(), frame, {}).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(b.ReceiveBefore(Soon()).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST(ChannelTest, WhatCannotBeSentUsesNoNumberUp) {
  const NoDescriptorLeak no_leak;
  Channels channels = MakeChannels();
  const UniqueFd file = MakeMemfdOrDie();
  v1::Frame frame = MakeHello("x");
  const auto refused = [&](v1::Frame& sent, const std::vector<int>& fds) {
    return channels.a.Send(sent, fds).code() ==
           absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused(frame, {999'999})) << "not open";
  EXPECT_TRUE(refused(frame, std::vector<int>(253, file.get()))) << "too many";
  v1::Frame large = MakeHello(std::string(kMaxMessageBytes, 'x'));
  EXPECT_TRUE(refused(large, {file.get()})) << "too large";

  ASSERT_TRUE(channels.a.Send(frame, std::vector<int>(252, file.get())).ok());
  absl::StatusOr<IncomingFrame> first = channels.b.Receive();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->frame.seq(), 1u);
  EXPECT_EQ(first->descriptors.size(), 252u);
}

// What a peer that is not this library may send: each is refused, and none
// leaks what came with it.
TEST(ChannelTest, HostileFramesAreRefused) {
  struct Case {
    const char* name;
    absl::StatusCode code;
    // Spoils a frame that is right, with one descriptor; gives its bytes.
    std::function<std::string(v1::Frame&)> spoil;
  };
  const auto spoil = [](auto change) {
    return [change](v1::Frame& frame) {
      change(frame);
      return frame.SerializeAsString();
    };
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kMismatch = absl::StatusCode::kFailedPrecondition;
  const std::vector<Case> cases = {
      {"number 0", kInvalid, spoil([](v1::Frame& f) { f.set_seq(0); })},
      {"a repeat", kInvalid, spoil([](v1::Frame& f) { f.set_seq(1); })},
      {"a gap", kInvalid, spoil([](v1::Frame& f) { f.set_seq(3); })},
      {"a huge number", kInvalid,
       spoil([](v1::Frame& f) { f.set_seq(~0ull); })},
      {"count too low", kInvalid,
       spoil([](v1::Frame& f) { f.set_descriptor_count(0); })},
      {"count too high", kInvalid,
       spoil([](v1::Frame& f) { f.set_descriptor_count(2); })},
      {"not described", kInvalid,
       spoil([](v1::Frame& f) { f.clear_descriptors(); })},
      {"none claimed, one sent", kInvalid, spoil([](v1::Frame& f) {
         f.clear_descriptors();
         f.set_descriptor_count(0);
       })},
      {"one claimed twice", kInvalid, spoil([](v1::Frame& f) {
         *f.add_descriptors() = f.descriptors(0);
         f.set_descriptor_count(2);
       })},
      {"another kind", kMismatch, spoil([](v1::Frame& f) {
         f.mutable_descriptors(0)->set_kind(v1::DescriptorInfo::TCP);
       })},
      {"no kind", kMismatch,
       spoil([](v1::Frame& f) { f.mutable_descriptors(0)->clear_kind(); })},
      {"another inode", kMismatch,
       spoil([](v1::Frame& f) { f.mutable_descriptors(0)->set_inode(1); })},
      {"a cookie", kMismatch, spoil([](v1::Frame& f) {
         f.mutable_descriptors(0)->set_socket_cookie(1);
       })},
      {"an address", kMismatch, spoil([](v1::Frame& f) {
         f.mutable_descriptors(0)->set_local_address("127.0.0.1:80");
       })},
      {"garbage", kInvalid,
       [](v1::Frame&) { return std::string("\xff\xff\xff\xff\x07garbage"); }},
      {"cut off", kInvalid,
       [](v1::Frame& f) {
         const std::string bytes = f.SerializeAsString();
         return bytes.substr(0, bytes.size() - 1);
       }},
      {"a NUL", kInvalid, [](v1::Frame&) { return std::string(1, '\0'); }},
  };
  for (const Case& hostile : cases) {
    SCOPED_TRACE(hostile.name);
    const NoDescriptorLeak no_leak;
    Sockets sockets = MakeSockets();
    Channel channel = MakeChannel(std::move(sockets.b));
    const UniqueFd file = MakeMemfdOrDie();
    absl::StatusOr<v1::DescriptorInfo> info = DescribeDescriptor(file.get());
    ASSERT_TRUE(info.ok()) << info.status();
    v1::Frame frame = MakeHello("x");
    frame.set_descriptor_count(1);
    *frame.add_descriptors() = *info;
    frame.set_seq(1);
    const int fd = file.get();
    ASSERT_TRUE(
        SendMessage(sockets.a.get(), frame.SerializeAsString(), {fd}).ok());
    ASSERT_TRUE(channel.Receive().ok());

    frame.set_seq(2);
    v1::Frame after = frame;
    after.set_seq(3);
    const std::string bytes = hostile.spoil(frame);
    ASSERT_TRUE(SendMessage(sockets.a.get(), bytes, {fd}).ok());
    ASSERT_TRUE(
        SendMessage(sockets.a.get(), after.SerializeAsString(), {fd}).ok());
    EXPECT_EQ(ReceiveCode(channel), hostile.code);
    EXPECT_EQ(ReceiveCode(channel), kInvalid)
        << "a frame after one that was refused is not the next";
  }
}

TEST(ChannelTest, HostileMessagesAreRefused) {
  const NoDescriptorLeak no_leak;
  Sockets sockets = MakeSockets();
  Channel channel = MakeChannel(std::move(sockets.b));
  const std::string huge(kMaxMessageBytes + 1, 'x');
  ASSERT_EQ(::send(sockets.a.get(), huge.data(), huge.size(), 0),
            static_cast<ssize_t>(huge.size()));
  EXPECT_EQ(ReceiveCode(channel), absl::StatusCode::kDataLoss);
  ASSERT_EQ(::send(sockets.a.get(), "", 0, 0), 0);
  EXPECT_EQ(ReceiveCode(channel), absl::StatusCode::kDataLoss);
}

TEST(ChannelTest, ALaterFrameFromAnotherProcessIsRefusedForGood) {
  const NoDescriptorLeak no_leak;
  Channels channels = MakeChannels();
  const UniqueFd file = MakeMemfdOrDie();
  v1::Frame frame = MakeHello("x");
  ASSERT_TRUE(channels.a.Send(frame, {}).ok());
  ASSERT_TRUE(channels.b.Receive().ok());
  ForkedChild child(
      [&] { return channels.a.Send(frame, {file.get()}).ok() ? 0 : 1; });
  ASSERT_EQ(child.Wait(), 0);
  EXPECT_EQ(ReceiveCode(channels.b), absl::StatusCode::kUnauthenticated);
  ASSERT_TRUE(channels.a.Send(frame, {}).ok()) << "the right one, number 2";
  EXPECT_EQ(ReceiveCode(channels.b), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(channels.b.ReceiveBefore(Soon()).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(ChannelTest, AnotherUserIsRefusedBeforeItsFrameIsLookedAt) {
  const NoDescriptorLeak no_leak;
  for (const bool trusted : {false, true}) {
    for (const bool scm_pidfd : {false, true}) {
      Sockets sockets = MakeSockets();
      Channel::Options options;
      options.use_scm_pidfd = scm_pidfd;
      if (trusted) options.trust.more_uids = {kStranger};
      Channel channel = MakeChannel(std::move(sockets.b), options);
      ForkedChild child([&] {
        if (!BecomeUser(kStranger)) return kCannotBecomeUser;
        absl::StatusOr<UniqueFd> self = OwnPidfd();
        if (!self.ok()) return 1;
        // Garbage, which only a trusted peer is told.
        return SendMessage(sockets.a.get(), "\xff", {self->get()}).ok() ? 0 : 2;
      });
      const int code = child.Wait();
      if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
      ASSERT_EQ(code, 0);
      if (trusted && scm_pidfd) {
        EXPECT_EQ(ReceiveCode(channel), absl::StatusCode::kInvalidArgument);
      } else if (scm_pidfd) {
        EXPECT_EQ(ReceiveCode(channel), absl::StatusCode::kPermissionDenied);
        EXPECT_EQ(ReceiveCode(channel), absl::StatusCode::kPermissionDenied);
        EXPECT_EQ(channel.peer(), nullptr);
      } else {
        // The child is gone, so its pidfd no longer says who it was.
        EXPECT_EQ(ReceiveCode(channel), absl::StatusCode::kUnauthenticated);
      }
    }
  }
}

TEST(ChannelTest, WithoutScmPidfdTheFirstDescriptorSaysWhoThePeerIs) {
  const NoDescriptorLeak no_leak;
  Channel::Options options;
  options.use_scm_pidfd = false;
  absl::StatusOr<UniqueFd> self = OwnPidfd();
  ASSERT_TRUE(self.ok()) << self.status();
  ForkedChild other([] {
    ::pause();
    return 0;
  });
  const UniqueFd file = MakeMemfdOrDie();
  struct Case {
    const char* name;
    std::vector<int> descriptors;
    absl::StatusCode code;
  };
  const std::vector<Case> cases = {
      {"its own", {self->get(), file.get()}, absl::StatusCode::kOk},
      {"none", {}, absl::StatusCode::kUnauthenticated},
      {"another's", {other.pidfd()}, absl::StatusCode::kUnauthenticated},
      {"no pidfd",
       {file.get(), self->get()},
       absl::StatusCode::kUnauthenticated},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Channels channels = MakeChannels(options);
    v1::Frame frame = MakeHello("x");
    ASSERT_TRUE(channels.a.Send(frame, c.descriptors).ok());
    absl::StatusOr<IncomingFrame> incoming = channels.b.Receive();
    ASSERT_EQ(incoming.status().code(), c.code) << incoming.status();
    if (!incoming.ok()) continue;
    EXPECT_EQ(incoming->descriptors.size(), c.descriptors.size());
    EXPECT_FALSE(ProcessEnded(channels.b.peer()->pidfd.get()));
  }
}

TEST(ChannelTest, AFullQueueKeepsTheFrameToBeSentAgain) {
  const NoDescriptorLeak no_leak;
  Channels channels = MakeChannels();
  const UniqueFd file = MakeMemfdOrDie();
  v1::Frame frame = MakeHello(std::string(60'000, 'x'));
  uint64_t sent = 0;
  absl::Status status;
  while ((status = channels.a.Send(frame, {file.get()})).ok()) {
    ASSERT_LT(++sent, 1000u);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  const absl::Time deadline = absl::Now() + absl::Milliseconds(30);
  EXPECT_EQ(channels.a.SendBefore(deadline, frame, {file.get()}).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now(), deadline);
  ASSERT_TRUE(channels.b.Receive().ok());
  ASSERT_TRUE(channels.a.SendBefore(Soon(), frame, {file.get()}).ok());
  for (uint64_t seq = 2; seq <= sent + 1; ++seq) {
    absl::StatusOr<IncomingFrame> incoming = channels.b.Receive();
    ASSERT_TRUE(incoming.ok()) << incoming.status();
    EXPECT_EQ(incoming->frame.seq(), seq);
  }
  EXPECT_EQ(ReceiveCode(channels.b), absl::StatusCode::kUnavailable);
}

TEST(ChannelTest, SendingWaitsForAReader) {
  const NoDescriptorLeak no_leak;
  Sockets sockets = MakeSockets();
  constexpr int kFrames = 200;
  const UniqueFd file = MakeMemfdOrDie();
  ForkedChild reader([&] {
    sockets.a.reset();
    Channel channel = MakeChannel(std::move(sockets.b));
    for (int i = 0; i < kFrames; ++i) {
      absl::StatusOr<IncomingFrame> incoming = channel.ReceiveBefore(Soon());
      if (!incoming.ok()) return 1;
      if (incoming->descriptors.size() != 10) return 2;
    }
    const absl::Status end = channel.ReceiveBefore(Soon()).status();
    return end.code() == absl::StatusCode::kOutOfRange ? 0 : 3;
  });
  sockets.b.reset();
  {
    Channel channel = MakeChannel(std::move(sockets.a));
    v1::Frame frame = MakeHello(std::string(20'000, 'x'));
    const std::vector<int> descriptors(10, file.get());
    for (int i = 0; i < kFrames; ++i) {
      const absl::Status sent = channel.SendBefore(Soon(), frame, descriptors);
      ASSERT_TRUE(sent.ok()) << sent;
    }
  }
  EXPECT_EQ(reader.Wait(), 0);
}

// ETOOMANYREFS has no event: the channel tries again until there is room.
TEST(ChannelTest, SendingWaitsWhileTooManyDescriptorsAreUnread) {
  const NoDescriptorLeak no_leak;
  Sockets sockets = MakeSockets();
  const UniqueFd file = MakeMemfdOrDie();
  ForkedChild sender([&] {
    if (!BecomeUserOfItsOwn()) return kCannotBecomeUser;
    rlimit limit = {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1;
    limit.rlim_cur = 64;
    if (::setrlimit(RLIMIT_NOFILE, &limit) < 0) return 1;
    Channels channels = {MakeChannel(std::move(sockets.a)),
                         MakeChannel(std::move(sockets.b))};
    v1::Frame frame = MakeHello("x");
    const std::vector<int> descriptors(50, file.get());
    absl::Status status;
    int sent = 0;
    while ((status = channels.a.Send(frame, descriptors)).ok()) {
      if (++sent > 100) return 2;
    }
    if (status.code() != absl::StatusCode::kResourceExhausted) return 3;
    const absl::Time deadline = absl::Now() + absl::Milliseconds(20);
    status = channels.a.SendBefore(deadline, frame, descriptors);
    if (status.code() != absl::StatusCode::kDeadlineExceeded) return 4;
    // Its own process reads: one that waits for ever would fail the test.
    ForkedChild reader([&] {
      // One at a time: it has room for the descriptors of one.
      for (int i = 0; i < 2; ++i) {
        if (!ReceiveMessage(channels.b.fd()).ok()) return 1;
      }
      return 0;
    });
    if (!channels.a.SendBefore(Soon(), frame, descriptors).ok()) return 5;
    return reader.Wait() == 0 ? 0 : 6;
  });
  const int code = sender.Wait();
  if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
  EXPECT_EQ(code, 0)
      << "2: no error, 3: another error, 4: no deadline, 5: no waiting";
}

TEST(ChannelTest, ReceivingWaitsUpToTheDeadlineWhateverSignalsCome) {
  const NoDescriptorLeak no_leak;
  Channels channels = MakeChannels();
  struct sigaction interrupt = {};
  interrupt.sa_handler = [](int) {};  // without SA_RESTART
  struct sigaction before = {};
  ASSERT_EQ(::sigaction(SIGALRM, &interrupt, &before), 0);
  const itimerval every = {{0, 2000}, {0, 2000}};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &every, nullptr), 0);
  const absl::Time deadline = absl::Now() + absl::Milliseconds(50);
  EXPECT_EQ(channels.b.ReceiveBefore(deadline).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now(), deadline);
  const itimerval never = {};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &never, nullptr), 0);
  ASSERT_EQ(::sigaction(SIGALRM, &before, nullptr), 0);

  EXPECT_EQ(channels.b.ReceiveBefore(absl::InfinitePast()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  v1::Frame frame = MakeHello("x");
  ASSERT_TRUE(channels.a.SendBefore(absl::InfiniteFuture(), frame, {}).ok());
  EXPECT_TRUE(channels.b.ReceiveBefore(absl::InfinitePast()).ok())
      << "what is there already is not late";
  ASSERT_TRUE(channels.a.Send(frame, {}).ok());
  EXPECT_TRUE(channels.b.ReceiveBefore(absl::InfiniteFuture()).ok());
}

}  // namespace
}  // namespace handoff
