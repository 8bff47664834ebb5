#include "handoff/fd/scm_rights.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/forked_child.h"

namespace handoff {
namespace {

struct Pair {
  UniqueFd a;
  UniqueFd b;
};

Pair MakePair() {
  int pair[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

UniqueFd OpenNull() { return UniqueFd(::open("/dev/null", O_RDWR)); }

bool SameFile(int a, int b) {
  struct stat of_a;
  struct stat of_b;
  return ::fstat(a, &of_a) == 0 && ::fstat(b, &of_b) == 0 &&
         of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

// Sends what SendMessage() would not: the bytes may be none, and each of
// `groups` becomes a control message of its own.
bool SendRaw(int socket, const std::string& bytes,
             const std::vector<std::vector<int>>& groups) {
  iovec vector = {const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header = {};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  std::vector<unsigned char> control;
  for (const std::vector<int>& group : groups) {
    const size_t payload = group.size() * sizeof(int);
    const size_t start = control.size();
    control.resize(start + CMSG_SPACE(payload));
    cmsghdr rights = {};
    rights.cmsg_level = SOL_SOCKET;
    rights.cmsg_type = SCM_RIGHTS;
    rights.cmsg_len = CMSG_LEN(payload);
    std::memcpy(&control[start], &rights, sizeof(rights));
    std::memcpy(&control[start + CMSG_LEN(0)], group.data(), payload);
  }
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  return ::sendmsg(socket, &header, MSG_NOSIGNAL) >= 0;
}

TEST(ScmRightsTest, DescriptorsArriveAsTheSameFilesInOrderAndCloseOnExec) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const UniqueFd null = OpenNull();
  ASSERT_TRUE(
      SendMessage(pair.a.get(), "hello", {null.get(), reader.get()}).ok());

  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->bytes, "hello");
  ASSERT_EQ(message->descriptors.size(), 2u);
  EXPECT_TRUE(SameFile(message->descriptors[0].get(), null.get()));
  EXPECT_TRUE(SameFile(message->descriptors[1].get(), reader.get()));
  for (const UniqueFd& fd : message->descriptors) {
    EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  }
  EXPECT_FALSE(message->credentials.has_value());
  EXPECT_FALSE(message->pidfd.valid());

  // Not only the same inode: the same pipe.
  ASSERT_EQ(::write(writer.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(message->descriptors[1].get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}

TEST(ScmRightsTest, SendsAsManyDescriptorsAsItPromisesAndNotOneMore) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  const UniqueFd null = OpenNull();
  const std::vector<int> most(kMaxDescriptorsPerMessage, null.get());
  ASSERT_TRUE(SendMessage(pair.a.get(), "x", most).ok());
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->descriptors.size(), kMaxDescriptorsPerMessage);

  const std::vector<int> too_many(kMaxDescriptorsPerMessage + 1, null.get());
  EXPECT_EQ(SendMessage(pair.a.get(), "x", too_many).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReceiveMessage(pair.b.get()).status().code(),
            absl::StatusCode::kUnavailable)
      << "part of a refused message was sent";
}

TEST(ScmRightsTest, TakesAsManyDescriptorsAsTheKernelAllowsAnotherSender) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get()).ok());
  const UniqueFd null = OpenNull();
  ASSERT_TRUE(SendRaw(pair.a.get(), "x", {std::vector<int>(253, null.get())}));
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->descriptors.size(), 253u);
  EXPECT_TRUE(message->credentials.has_value());
}

TEST(ScmRightsTest, OwnsTheDescriptorsOfEveryControlMessage) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  const UniqueFd null = OpenNull();
  const int fd = null.get();
  ASSERT_TRUE(SendRaw(pair.a.get(), "x", {{fd, fd}, {fd}, {fd, fd, fd}}));
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->descriptors.size(), 6u);
}

TEST(ScmRightsTest, RefusesToSendAnEmptyOrOversizeMessage) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  EXPECT_EQ(SendMessage(pair.a.get(), "", {}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      SendMessage(pair.a.get(), std::string(kMaxMessageBytes + 1, 'x'), {})
          .code(),
      absl::StatusCode::kInvalidArgument);
  const std::string largest(kMaxMessageBytes, 'x');
  ASSERT_TRUE(SendMessage(pair.a.get(), largest, {}).ok());
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_TRUE(message->bytes == largest) << message->bytes.size();
}

TEST(ScmRightsTest, AnEmptyMessageIsNotTakenForEndOfFile) {
  const NoDescriptorLeak no_leak;
  Pair pair = MakePair();
  const UniqueFd null = OpenNull();
  ASSERT_TRUE(SendRaw(pair.a.get(), "", {}));
  ASSERT_TRUE(SendRaw(pair.a.get(), "", {{null.get(), null.get()}}));
  ASSERT_TRUE(SendMessage(pair.a.get(), "after", {}).ok());
  for (const char* kind : {"bare", "with descriptors"}) {
    EXPECT_EQ(ReceiveMessage(pair.b.get()).status().code(),
              absl::StatusCode::kDataLoss)
        << kind;
  }
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->bytes, "after");

  // With credentials, it is told from end of file even when both are there.
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get()).ok());
  ASSERT_TRUE(SendRaw(pair.a.get(), "", {}));
  pair.a.reset();
  EXPECT_EQ(ReceiveMessage(pair.b.get()).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReceiveMessage(pair.b.get()).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST(ScmRightsTest, ATruncatedMessageIsRefusedAndItsDescriptorsAreClosed) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  const UniqueFd null = OpenNull();
  ASSERT_TRUE(SendMessage(pair.a.get(), "0123456789", {null.get()}).ok());
  EXPECT_EQ(ReceiveMessage(pair.b.get(), 9).status().code(),
            absl::StatusCode::kDataLoss);
  ASSERT_TRUE(SendMessage(pair.a.get(), "0123456789", {null.get()}).ok());
  EXPECT_TRUE(ReceiveMessage(pair.b.get(), 10).ok());
}

TEST(ScmRightsTest, DescriptorsThatDoNotFitAreAnErrorAndLeakNothing) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  const UniqueFd null = OpenNull();
  ASSERT_TRUE(
      SendMessage(pair.a.get(), "x", std::vector<int>(10, null.get())).ok());
  ForkedChild child([&] {
    if (!LimitDescriptors(3)) return 1;
    const size_t before = OpenDescriptors().size();
    const absl::Status status = ReceiveMessage(pair.b.get()).status();
    if (status.code() != absl::StatusCode::kDataLoss) return 2;
    // What did fit had to be closed again, or this could not be opened.
    for (int i = 0; i < 3; ++i) {
      const int fd = ::open("/dev/null", O_RDONLY);
      if (fd < 0) return 3;
      ::close(fd);
    }
    return OpenDescriptors().size() == before ? 0 : 4;
  });
  EXPECT_EQ(child.Wait(), 0)
      << "1: no limit could be set, 2: not DATA_LOSS, 3 and 4: some leaked";
}

TEST(ScmRightsTest, APidfdThatDoesNotFitIsAbsent) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get()).ok());
  ASSERT_TRUE(SendMessage(pair.a.get(), "x", {}).ok());
  ForkedChild child([&] {
    if (!LimitDescriptors(0)) return 1;
    absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
    if (!message.ok()) return 2;
    if (message->pidfd.valid() || message->pidfd.get() != -1) return 3;
    return message->credentials.has_value() ? 0 : 4;
  });
  EXPECT_EQ(child.Wait(), 0)
      << "1: no limit could be set, 2: no message, 3: an errno was taken for a "
         "descriptor, 4: no credentials";
}

TEST(ScmRightsTest, SendingToAClosedPeerIsAbortedWithoutSigpipe) {
  const NoDescriptorLeak no_leak;
  Pair pair = MakePair();
  pair.b.reset();
  ASSERT_EQ(::signal(SIGPIPE, SIG_DFL), SIG_DFL);
  EXPECT_EQ(SendMessage(pair.a.get(), "x", {}).code(),
            absl::StatusCode::kAborted);
}

TEST(ScmRightsTest, WhatThePeerSentBeforeItClosedIsReadBeforeEndOfFile) {
  const NoDescriptorLeak no_leak;
  Pair pair = MakePair();
  const UniqueFd null = OpenNull();
  ASSERT_TRUE(SendMessage(pair.a.get(), "one", {null.get()}).ok());
  ASSERT_TRUE(SendMessage(pair.a.get(), "two", {}).ok());
  pair.a.reset();
  absl::StatusOr<ReceivedMessage> one = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->bytes, "one");
  EXPECT_TRUE(SameFile(one->descriptors.at(0).get(), null.get()));
  absl::StatusOr<ReceivedMessage> two = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_EQ(two->bytes, "two");
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(ReceiveMessage(pair.b.get()).status().code(),
              absl::StatusCode::kOutOfRange);
  }
}

// The kernel answers ECONNRESET first where the peer has left something unread.
TEST(ScmRightsTest, WhatThePeerSentIsReadAlsoIfItLeftOurMessagesUnread) {
  const NoDescriptorLeak no_leak;
  Pair pair = MakePair();
  ASSERT_TRUE(SendMessage(pair.b.get(), "never read", {}).ok());
  ASSERT_TRUE(SendMessage(pair.a.get(), "the last words", {}).ok());
  pair.a.reset();
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->bytes, "the last words");
  EXPECT_EQ(ReceiveMessage(pair.b.get()).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST(ScmRightsTest, AnEmptyQueueAndAFullOneAreUnavailable) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  EXPECT_EQ(ReceiveMessage(pair.b.get()).status().code(),
            absl::StatusCode::kUnavailable);
  const std::string bytes(64 * 1024, 'x');
  int sent = 0;
  absl::Status status;
  while ((status = SendMessage(pair.a.get(), bytes, {})).ok()) {
    ASSERT_LT(++sent, 1000) << "the queue does not fill up";
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  for (int i = 0; i < sent; ++i) {
    absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->bytes.size(), bytes.size());
  }
  EXPECT_TRUE(SendMessage(pair.a.get(), bytes, {}).ok());
}

TEST(ScmRightsTest, TooManyUnreadDescriptorsMeanWaitNotFail) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  const UniqueFd null = OpenNull();
  const std::vector<int> batch(16, null.get());
  ForkedChild child([&] {
    // CAP_SYS_RESOURCE and CAP_SYS_ADMIN know no such limit.
    if (!BecomeUserOfItsOwn()) return kCannotBecomeUser;
    rlimit limit = {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return 2;
    limit.rlim_cur = 64;
    if (::setrlimit(RLIMIT_NOFILE, &limit) < 0) return 2;
    int sent = 0;
    absl::Status status;
    while ((status = SendMessage(pair.a.get(), "x", batch)).ok()) {
      if (++sent > 100) return 3;
    }
    if (status.code() != absl::StatusCode::kResourceExhausted) return 4;
    for (int i = 0; i < sent; ++i) {
      absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
      if (!message.ok()) return 5;
      if (message->descriptors.size() != batch.size()) return 6;
    }
    return SendMessage(pair.a.get(), "x", batch).ok() ? 0 : 7;
  });
  const int code = child.Wait();
  if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
  EXPECT_EQ(code, 0)
      << "2: no limit could be set, 3: no error, 4: another error, "
         "5 and 6: what was sent did not arrive, 7: no sending after that";
}

TEST(ScmRightsTest, NamesADescriptorThatIsNotOpen) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  const UniqueFd null = OpenNull();
  const absl::Status status =
      SendMessage(pair.a.get(), "x", {null.get(), 999'999});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("descriptor 1 "), absl::string_view::npos)
      << status;
  EXPECT_EQ(SendMessage(999'999, "x", {null.get()}).code(),
            absl::StatusCode::kFailedPrecondition)
      << "the socket is not open";
  EXPECT_FALSE(SendMessage(null.get(), "x", {}).ok());
  EXPECT_FALSE(ReceiveMessage(null.get()).ok());
  EXPECT_FALSE(EnableSenderIdentity(null.get()).ok());
}

TEST(ScmRightsTest, GivesTheSendersIdentityWhereItWasAskedFor) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get()).ok());
  ForkedChild child(
      [&] { return SendMessage(pair.a.get(), "x", {}).ok() ? 0 : 1; });
  pollfd readable = {pair.b.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&readable, 1, 60'000), 1);
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  ASSERT_TRUE(message->credentials.has_value());
  EXPECT_EQ(message->credentials->pid, child.pid());
  EXPECT_EQ(message->credentials->uid, ::geteuid());
  EXPECT_EQ(message->credentials->gid, ::getegid());
  if (message->pidfd.valid()) {
    EXPECT_EQ(::fcntl(message->pidfd.get(), F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(child.Wait(), 0);

  // And no pidfd once that is no longer wanted, though the option was on.
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get(), /*want_pidfd=*/false).ok());
  ASSERT_TRUE(SendMessage(pair.a.get(), "x", {}).ok());
  absl::StatusOr<ReceivedMessage> second = ReceiveMessage(pair.b.get());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->credentials.has_value());
  EXPECT_FALSE(second->pidfd.valid());
}

TEST(ScmRightsTest, AnotherUserCannotForgeItsCredentials) {
  const NoDescriptorLeak no_leak;
  const Pair pair = MakePair();
  ASSERT_TRUE(EnableSenderIdentity(pair.b.get()).ok());
  ForkedChild child([&] {
    if (!BecomeUserOfItsOwn()) return kCannotBecomeUser;
    const ucred forged = {::getppid(), 0, 0};
    char byte = 'x';
    iovec vector = {&byte, 1};
    alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(forged))] = {};
    msghdr header = {};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* credentials = CMSG_FIRSTHDR(&header);
    credentials->cmsg_level = SOL_SOCKET;
    credentials->cmsg_type = SCM_CREDENTIALS;
    credentials->cmsg_len = CMSG_LEN(sizeof(forged));
    std::memcpy(CMSG_DATA(credentials), &forged, sizeof(forged));
    if (::sendmsg(pair.a.get(), &header, MSG_NOSIGNAL) >= 0) return 2;
    return errno == EPERM ? 0 : 3;
  });
  const int code = child.Wait();
  if (code == kCannotBecomeUser) GTEST_SKIP() << "takes root";
  EXPECT_EQ(code, 0) << "2: sent, 3: another error than EPERM";
}

}  // namespace
}  // namespace handoff
