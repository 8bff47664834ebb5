#include "handoff/integrations/systemd/notify_socket.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/integrations/systemd/fake_manager.h"

namespace handoff {
namespace {

// For what must not expire, on a machine that is slow.
constexpr absl::Duration kLong = absl::Seconds(30);
constexpr absl::Duration kShort = absl::Milliseconds(20);

std::unique_ptr<NotifySocket> Open(const std::string& address) {
  auto opened = NotifySocket::Open(address);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return opened.ok() ? *std::move(opened) : nullptr;
}

class NotifySocketTest : public testing::Test {
 protected:
  NoDescriptorLeak no_leak_;
  TempFolder folder_;
  const std::string address_ = folder_ / "notify";
};

TEST_F(NotifySocketTest, AMessageIsItsAssignmentsInOrderFromThisProcess) {
  FakeManager manager(address_);
  const auto socket = Open(address_);
  ASSERT_TRUE(
      socket->Send({{"READY", "1"}, {"STATUS", "serving = well"}}, kLong).ok());
  const ReceivedMessage message = manager.Next();
  EXPECT_EQ(message.bytes, "READY=1\nSTATUS=serving = well");
  ASSERT_TRUE(message.credentials.has_value());
  EXPECT_EQ(message.credentials->pid, ::getpid());
}

TEST_F(NotifySocketTest, AnAbstractNameIsReachedToo) {
  const std::string name = absl::StrCat("@handoff-notify-", ::getpid());
  FakeManager manager(name);
  ASSERT_TRUE(Open(name)->Send({{"READY", "1"}}, kLong).ok());
  EXPECT_EQ(manager.Next().bytes, "READY=1");
}

TEST_F(NotifySocketTest, DescriptorsGoAlong) {
  FakeManager manager(address_);
  const UniqueFd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  const std::vector<int> many(kMaxDescriptorsPerMessage, file.get());
  ASSERT_TRUE(Open(address_)->Send({{"FDSTORE", "1"}}, kLong, many).ok());
  const ReceivedMessage message = manager.Next();
  ASSERT_EQ(message.descriptors.size(), many.size());
  struct stat sent = {};
  struct stat got = {};
  ::fstat(file.get(), &sent);
  ::fstat(message.descriptors.back().get(), &got);
  EXPECT_EQ(sent.st_ino, got.st_ino);
}

TEST_F(NotifySocketTest, NoValueBecomesALineOfItsOwn) {
  FakeManager manager(address_);
  const auto socket = Open(address_);
  for (const std::string& value :
       {std::string("x\nMAINPID=1"), std::string("x\0y", 3)}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(socket->Send({{"STATUS", value}}, kLong)));
  }
  for (const char* name : {"", "A=B", "A\nB", "status"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(socket->Send({{name, "1"}}, kLong)))
        << name;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(socket->Send({}, kLong)));
  EXPECT_TRUE(manager.HasNone());
}

TEST_F(NotifySocketTest, WhatTheManagerWouldNotReadInFullIsRefused) {
  FakeManager manager(address_);
  const auto socket = Open(address_);
  std::string text(NotifySocket::kMaxBytes - std::strlen("STATUS="), 'x');
  EXPECT_TRUE(socket->Send({{"STATUS", text}}, kLong).ok());
  EXPECT_EQ(manager.Next().bytes.size(), NotifySocket::kMaxBytes);
  EXPECT_TRUE(
      absl::IsInvalidArgument(socket->Send({{"STATUS", text + "x"}}, kLong)));
}

// How many messages the queue holds is the kernel's to say.
int Fill(const NotifySocket& socket) {
  int sent = 0;
  while (sent < 100'000 &&
         socket.Send({{"WATCHDOG", "1"}}, absl::ZeroDuration()).ok()) {
    ++sent;
  }
  return sent;
}

TEST_F(NotifySocketTest, AManagerThatDoesNotReadHoldsNobodyUp) {
  FakeManager manager(address_);
  const auto socket = Open(address_);
  ASSERT_GT(Fill(*socket), 0);
  EXPECT_TRUE(absl::IsDeadlineExceeded(socket->Send({{"READY", "1"}}, kShort)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      socket->Send({{"WATCHDOG", "1"}}, absl::ZeroDuration())));
  EXPECT_TRUE(absl::IsDeadlineExceeded(socket->Barrier(kShort)));
}

TEST_F(NotifySocketTest, AMessageWaitsForRoom) {
  FakeManager manager(address_);
  const auto socket = Open(address_);
  int waiting = Fill(*socket);
  ASSERT_GT(waiting, 0);
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::thread sender([&] {
    code = socket->Send({{"STOPPING", "1"}}, kLong).code();
  });
  while (waiting-- > 0) EXPECT_EQ(manager.Next().bytes, "WATCHDOG=1");
  EXPECT_EQ(manager.Next().bytes, "STOPPING=1");
  sender.join();
  EXPECT_EQ(code, absl::StatusCode::kOk);
}

TEST_F(NotifySocketTest, ABarrierReturnsWhenTheManagerHasReadSoFar) {
  FakeManager manager(address_);
  const auto socket = Open(address_);
  ASSERT_TRUE(socket->Send({{"MAINPID", "1"}}, kLong).ok());
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::thread caller([&] { code = socket->Barrier(kLong).code(); });
  EXPECT_EQ(manager.Next().bytes, "MAINPID=1");
  {
    const ReceivedMessage barrier = manager.Next();
    EXPECT_EQ(barrier.bytes, "BARRIER=1");
    EXPECT_EQ(barrier.descriptors.size(), 1u);
  }
  caller.join();
  EXPECT_EQ(code, absl::StatusCode::kOk);
}

TEST_F(NotifySocketTest, ABarrierThatTheManagerHoldsExpires) {
  FakeManager manager(address_);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Open(address_)->Barrier(kShort)));
  EXPECT_EQ(manager.Next().bytes, "BARRIER=1");
}

TEST_F(NotifySocketTest, AManagerThatHasBoundAnewIsFound) {
  const auto socket = Open(address_);
  EXPECT_TRUE(
      absl::IsFailedPrecondition(socket->Send({{"READY", "1"}}, kLong)));
  for (int i = 0; i < 2; ++i) {
    FakeManager manager(address_);
    EXPECT_TRUE(socket->Send({{"READY", "1"}}, kLong).ok());
    EXPECT_EQ(manager.Next().bytes, "READY=1");
    ::unlink(address_.c_str());
  }
}

TEST(NotifySocketAddressTest, WhatIsNoAddressIsRefused) {
  EXPECT_TRUE(absl::IsUnimplemented(NotifySocket::Open("vsock:2:1").status()));
  for (const std::string& address :
       {std::string(), std::string("@"), std::string("/"),
        std::string("run/notify"), "/" + std::string(107, 'x')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(NotifySocket::Open(address).status()))
        << address;
  }
  EXPECT_TRUE(NotifySocket::Open("/" + std::string(106, 'x')).ok());
}

TEST(NotifySocketAddressTest, TheVariableNamesItAndStaysForASuccessor) {
  ::unsetenv("NOTIFY_SOCKET");
  EXPECT_EQ(NotifySocket::FromEnvironment().value(), nullptr);
  ::setenv("NOTIFY_SOCKET", "/run/systemd/notify", 1);
  EXPECT_NE(NotifySocket::FromEnvironment().value(), nullptr);
  EXPECT_STREQ(::getenv("NOTIFY_SOCKET"), "/run/systemd/notify");
  ::setenv("NOTIFY_SOCKET", "nowhere", 1);
  EXPECT_TRUE(
      absl::IsInvalidArgument(NotifySocket::FromEnvironment().status()));
  ::unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace handoff
