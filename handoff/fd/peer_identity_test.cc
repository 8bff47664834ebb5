#include "handoff/fd/peer_identity.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/temp_folder.h"

namespace handoff {
namespace {

constexpr uid_t kStranger = 12345;
constexpr uid_t kNobody = 65534;  // /proc/sys/kernel/overflowuid, by default
constexpr int kDeadlineMilliseconds = 30'000;

struct Pair {
  UniqueFd a;
  UniqueFd b;
};

Pair MakePair() {
  int pair[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

absl::StatusOr<ReceivedMessage> Await(int socket) {
  pollfd readable = {socket, POLLIN, 0};
  if (::poll(&readable, 1, kDeadlineMilliseconds) <= 0) {
    return absl::DeadlineExceededError("no message came");
  }
  return ReceiveMessage(socket);
}

// Sends a byte and, where `with_pidfd`, a pidfd of itself. For children.
int SendIdentity(int socket, bool with_pidfd) {
  absl::StatusOr<UniqueFd> pidfd = OwnPidfd();
  if (!pidfd.ok()) return 10;
  std::vector<int> descriptors;
  if (with_pidfd) descriptors.push_back(pidfd->get());
  return SendMessage(socket, "x", descriptors).ok() ? 0 : 11;
}

// As the fallback takes it: the message's first descriptor.
absl::StatusOr<PeerIdentity> Identify(ReceivedMessage& message) {
  const UniqueFd none;
  return IdentifySender(
      message, message.descriptors.empty() ? none : message.descriptors[0]);
}

// Whether this kernel has SCM_PIDFD.
bool KernelGivesPidfd() {
  const Pair pair = MakePair();
  EXPECT_TRUE(EnableSenderIdentity(pair.b.get()).ok());
  EXPECT_TRUE(SendMessage(pair.a.get(), "x", {}).ok());
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  return message.ok() && message->pidfd.valid();
}

// With SCM_PIDFD and without.
class PeerIdentityTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !KernelGivesPidfd()) {
      GTEST_SKIP() << "this kernel has no SCM_PIDFD (Linux 6.5)";
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Kernel, PeerIdentityTest, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& info) {
                           return info.param ? "ScmPidfd" : "Fallback";
                         });

TEST_P(PeerIdentityTest, IsThatOfTheProcessWhichSentTheMessage) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get(), GetParam()).ok());
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd go_on(ends[0]);
  UniqueFd let_go(ends[1]);
  ForkedChild child([&] {
    let_go.reset();
    const int code = SendIdentity(pair.a.get(), !GetParam());
    char byte;
    return ::read(go_on.get(), &byte, 1) == 0 ? code : 12;
  });
  absl::StatusOr<ReceivedMessage> message = Await(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  absl::StatusOr<PeerIdentity> peer = Identify(*message);
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->credentials.pid, child.pid());
  EXPECT_EQ(peer->credentials.uid, ::geteuid());
  EXPECT_EQ(::fcntl(peer->pidfd.get(), F_GETFD), FD_CLOEXEC);

  // The pidfd is one of that process: it ends when the process does.
  EXPECT_FALSE(ProcessEnded(peer->pidfd.get()));
  let_go.reset();
  pollfd ended = {peer->pidfd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, kDeadlineMilliseconds), 1);
  EXPECT_TRUE(ProcessEnded(peer->pidfd.get()));
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_TRUE(ProcessEnded(peer->pidfd.get())) << "after it was reaped";
}

// The peer is a child that has given up one of our groups, or none.
TEST(HasOurGroupsTest, OnlyWhoHasAllOfThem) {
  for (const bool all : {true, false}) {
    ForkedChild service([all] {
      const gid_t groups[] = {101, 102};
      if (::setgroups(2, groups) != 0) return kCannotBecomeUser;
      const Pair pair = MakePair();
      int ends[2];
      if (!EnableSenderIdentity(pair.b.get()).ok() || ::pipe(ends) != 0) {
        return 1;
      }
      const UniqueFd go_on(ends[0]);
      UniqueFd let_go(ends[1]);
      ForkedChild asker([&] {
        let_go.reset();
        if (!all && ::setgroups(1, groups) != 0) return 2;
        const int code = SendIdentity(pair.a.get(), /*with_pidfd=*/true);
        char byte;
        return ::read(go_on.get(), &byte, 1) == 0 ? code : 3;
      });
      absl::StatusOr<ReceivedMessage> message = Await(pair.b.get());
      if (!message.ok()) return 4;
      absl::StatusOr<PeerIdentity> peer = Identify(*message);
      if (!peer.ok()) return 5;
      if (HasOurGroups(*peer) != all) return 6;
      peer->credentials.gid = ::getegid() + 1;
      if (HasOurGroups(*peer)) return 7;
      peer->credentials.gid = ::getegid();
      let_go.reset();
      if (asker.Wait() != 0) return 8;
      return HasOurGroups(*peer) ? 9 : 0;
    });
    const int code = service.Wait();
    if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
    EXPECT_EQ(code, 0) << "6: " << all << "; 7: another group; 9: it has ended";
  }
}

// A listens and hands its listener to B; C connects to B. SO_PEERCRED of C's
// socket still names A, which is dead.
TEST_P(PeerIdentityTest, HoldsOverThreeGenerations) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/s",
                folder.path().c_str());
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  const Pair pair = MakePair();

  ForkedChild a([&] {
    const UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    if (::bind(listener.get(), name, sizeof(address)) < 0) return 1;
    if (::listen(listener.get(), 1) < 0) return 2;
    return SendMessage(pair.a.get(), "x", {listener.get()}).ok() ? 0 : 3;
  });
  ASSERT_EQ(a.Wait(), 0);
  absl::StatusOr<ReceivedMessage> handed = Await(pair.b.get());
  ASSERT_TRUE(handed.ok()) << handed.status();
  ASSERT_EQ(handed->descriptors.size(), 1u);
  const UniqueFd listener = std::move(handed->descriptors[0]);

  const pid_t b_pid = ::getpid();
  ForkedChild c([&] {
    const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    if (!EnableSenderIdentity(socket.get(), GetParam()).ok()) return 1;
    if (::connect(socket.get(), name, sizeof(address)) < 0) return 2;
    ucred connected = {};
    socklen_t length = sizeof(connected);
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &connected,
                     &length) < 0) {
      return 3;
    }
    if (connected.pid == b_pid) return 4;
    if (SendIdentity(socket.get(), !GetParam()) != 0) return 5;
    absl::StatusOr<ReceivedMessage> answer = Await(socket.get());
    if (!answer.ok()) return 6;
    absl::StatusOr<PeerIdentity> peer = Identify(*answer);
    if (!peer.ok()) return 7;
    if (peer->credentials.pid != b_pid) return 8;
    return ProcessEnded(peer->pidfd.get()) ? 9 : 0;
  });
  pollfd connecting = {listener.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&connecting, 1, kDeadlineMilliseconds), 1);
  const UniqueFd socket(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(EnableSenderIdentity(socket.get(), GetParam()).ok());
  absl::StatusOr<ReceivedMessage> hello = Await(socket.get());
  ASSERT_TRUE(hello.ok()) << hello.status();
  absl::StatusOr<PeerIdentity> peer = Identify(*hello);
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->credentials.pid, c.pid());
  ASSERT_EQ(SendIdentity(socket.get(), !GetParam()), 0);
  EXPECT_EQ(c.Wait(), 0)
      << "4: SO_PEERCRED names whoever listens now, which no kernel did when "
         "this was written; 6 and 7: no identity; 8: another process; 9: dead";
}

TEST_P(PeerIdentityTest, AnotherUserIsRefusedUnlessThePolicyNamesIt) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get(), GetParam()).ok());
  ForkedChild child([&] {
    if (!BecomeUser(kStranger)) return kCannotBecomeUser;
    return SendIdentity(pair.a.get(), !GetParam());
  });
  const int code = child.Wait();
  if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
  ASSERT_EQ(code, 0);
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  ASSERT_TRUE(message->credentials.has_value());
  const SenderCredentials stranger = *message->credentials;
  EXPECT_EQ(stranger.uid, kStranger);
  const absl::Status refused = CheckTrusted(stranger, TrustPolicy());
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(absl::StrContains(refused.message(), absl::StrCat(kStranger)) &&
              absl::StrContains(refused.message(), "expected"))
      << refused;
  EXPECT_TRUE(CheckTrusted(stranger, TrustPolicy{{kStranger}}).ok());
}

TEST(FallbackTest, APidfdOfAnotherProcessIsRefused) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get(), /*want_pidfd=*/false).ok());
  ForkedChild other([] {
    ::pause();
    return 0;
  });
  ASSERT_TRUE(SendMessage(pair.a.get(), "x", {other.pidfd()}).ok());
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  const absl::Status refused = Identify(*message).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(absl::StrContains(refused.message(), absl::StrCat(other.pid())))
      << refused;

  // Nor is one whose process is gone.
  ASSERT_TRUE(KillProcess(other.pidfd()).ok());
  ASSERT_EQ(other.Wait(), 128 + SIGKILL);
  EXPECT_EQ(Identify(*message).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(FallbackTest, WhatIsNoPidfdIsRefused) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  // A file that says what the kernel would say of a pidfd.
  const UniqueFd file(
      ::open((folder / "fake").c_str(), O_RDWR | O_CREAT, 0600));
  const std::string text = absl::StrCat("Pid:\t", ::getpid(), "\n");
  ASSERT_EQ(::write(file.get(), text.data(), text.size()),
            static_cast<ssize_t>(text.size()));
  ReceivedMessage message;
  message.bytes = "x";
  message.credentials = SenderCredentials{::getpid(), ::getuid(), ::getgid()};
  EXPECT_EQ(IdentifySender(message, file).status().code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(IdentifySender(message, UniqueFd()).status().code(),
            absl::StatusCode::kUnauthenticated);
  absl::StatusOr<UniqueFd> own = OwnPidfd();
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_TRUE(IdentifySender(message, *own).ok());
  message.credentials.reset();
  EXPECT_EQ(IdentifySender(message, *own).status().code(),
            absl::StatusCode::kUnauthenticated)
      << "no credentials";
}

// From within a pid namespace, the processes outside have the pid 0.
TEST_P(PeerIdentityTest, AProcessWithoutAPidHereNeedsScmPidfd) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get(), GetParam()).ok());
  ASSERT_EQ(SendIdentity(pair.a.get(), /*with_pidfd=*/true), 0);
  ForkedChild outer([&] {
    if (::unshare(CLONE_NEWPID) < 0) return kCannotBecomeUser;
    ForkedChild inner([&] {
      absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
      if (!message.ok()) return 1;
      if (!message->credentials.has_value()) return 2;
      if (message->credentials->pid != 0) return 3;
      const absl::Status status = Identify(*message).status();
      if (GetParam()) return status.ok() ? 0 : 4;
      return status.code() == absl::StatusCode::kUnauthenticated ? 0 : 5;
    });
    // Not ForkedChild::Wait(), which this namespace does not matter to: its
    // pidfd is of the inner process all the same.
    return inner.Wait();
  });
  const int code = outer.Wait();
  if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
  EXPECT_EQ(code, 0) << "3: it has a pid, 4: refused with SCM_PIDFD, 5: "
                        "accepted without";
}

TEST(CheckTrustedTest, AcceptsOurselvesAndRoot) {
  EXPECT_TRUE(CheckTrusted({::getpid(), ::geteuid(), 0}, TrustPolicy()).ok());
  EXPECT_TRUE(CheckTrusted({1, 0, 0}, TrustPolicy()).ok());
}

TEST(CheckTrustedTest, ASuccessorWithoutPrivilegesTrustsRootButNoOther) {
  ForkedChild child([] {
    if (!BecomeUser(kStranger)) return kCannotBecomeUser;
    if (!CheckTrusted({1, kStranger, 0}, TrustPolicy()).ok()) return 1;
    if (!CheckTrusted({1, 0, 0}, TrustPolicy()).ok()) return 2;
    return CheckTrusted({1, kStranger + 1, 0}, TrustPolicy()).ok() ? 3 : 0;
  });
  const int code = child.Wait();
  if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
  EXPECT_EQ(code, 0);
}

// It stands for every user whom our namespace does not know, so nothing may
// make it match: neither the policy nor being that user oneself.
TEST(CheckTrustedTest, TheOverflowUserMatchesNobody) {
  EXPECT_EQ(CheckTrusted({1, kNobody, 0}, TrustPolicy{{kNobody}}).code(),
            absl::StatusCode::kPermissionDenied);
  ForkedChild child([] {
    if (!BecomeUser(kNobody)) return kCannotBecomeUser;
    return CheckTrusted({1, kNobody, 0}, TrustPolicy()).ok() ? 1 : 0;
  });
  const int code = child.Wait();
  if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
  EXPECT_EQ(code, 0);
}

TEST(ProcessTest, IsKilledThroughItsPidfd) {
  const NoDescriptorLeak no_leak;
  ForkedChild child([] {
    ::pause();
    return 0;
  });
  EXPECT_FALSE(ProcessEnded(child.pidfd()));
  EXPECT_TRUE(KillProcess(child.pidfd()).ok());
  EXPECT_EQ(child.Wait(), 128 + SIGKILL);
  EXPECT_TRUE(ProcessEnded(child.pidfd()));
  EXPECT_TRUE(KillProcess(child.pidfd()).ok()) << "it has ended already";
  const UniqueFd null(::open("/dev/null", O_RDWR));
  EXPECT_FALSE(KillProcess(null.get()).ok());
  EXPECT_FALSE(ProcessEnded(-1));
}

TEST(ProcessTest, HasAPidfdOfItself) {
  const NoDescriptorLeak no_leak;
  absl::StatusOr<UniqueFd> own = OwnPidfd();
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(::fcntl(own->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_FALSE(ProcessEnded(own->get()));
}

}  // namespace
}  // namespace handoff
