#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>

// After the others: it declares part of what netinet/in.h does.
#include <linux/sockios.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

constexpr int kDeadlineMilliseconds = 30'000;

// Both ends of a TCP connection.
struct Connection {
  UniqueFd client;
  UniqueFd server;
};

Connection Connect() {
  Connection tcp;
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  tcp.client.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* name = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(listener.get(), name, sizeof(address)), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), name, &length), 0);
  EXPECT_EQ(::connect(tcp.client.get(), name, sizeof(address)), 0);
  tcp.server.reset(::accept(listener.get(), nullptr, nullptr));
  return tcp;
}

v1::TcpCounters Counters(const UniqueFd& fd) {
  absl::StatusOr<v1::TcpCounters> counters = ReadTcpCounters(fd.get());
  EXPECT_TRUE(counters.ok()) << counters.status();
  return counters.ok() ? *counters : v1::TcpCounters();
}

uint64_t Consumed(const UniqueFd& fd) { return Counters(fd).consumed(); }
uint64_t Written(const UniqueFd& fd) { return Counters(fd).written(); }

void Send(const UniqueFd& fd, size_t bytes) {
  const std::string data(bytes, 'x');
  EXPECT_EQ(::send(fd.get(), data.data(), bytes, MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes));
}

void Read(const UniqueFd& fd, size_t bytes) {
  std::string data(bytes, '\0');
  EXPECT_EQ(::recv(fd.get(), data.data(), bytes, MSG_WAITALL),
            static_cast<ssize_t>(bytes));
}

// Until `bytes` are there to be read.
bool Arrived(const UniqueFd& fd, int bytes) {
  const absl::Time deadline =
      absl::Now() + absl::Milliseconds(kDeadlineMilliseconds);
  int unread = 0;
  do {
    if (::ioctl(fd.get(), SIOCINQ, &unread) < 0) return false;
  } while (unread != bytes && absl::Now() < deadline);
  return unread == bytes;
}

// Until what was sent has been acknowledged.
bool Acknowledged(const UniqueFd& fd) {
  const absl::Time deadline =
      absl::Now() + absl::Milliseconds(kDeadlineMilliseconds);
  int queued = 0;
  do {
    if (::ioctl(fd.get(), SIOCOUTQ, &queued) < 0) return false;
  } while (queued != 0 && absl::Now() < deadline);
  return queued == 0;
}

bool Event(const UniqueFd& fd, int event) {
  pollfd poll = {fd.get(), static_cast<int16_t>(event), 0};
  return ::poll(&poll, 1, kDeadlineMilliseconds) == 1 &&
         (poll.revents & event) != 0;
}

TEST(TcpCountersTest, ArrivalIsNotConsumptionAndReadingIs) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect();
  const uint64_t before = Consumed(tcp.server);
  Send(tcp.client, 1000);
  ASSERT_TRUE(Arrived(tcp.server, 1000));
  EXPECT_EQ(Consumed(tcp.server), before);
  Read(tcp.server, 300);
  EXPECT_EQ(Consumed(tcp.server), before + 300);
  char byte;
  ASSERT_EQ(::recv(tcp.server.get(), &byte, 1, MSG_PEEK), 1);
  EXPECT_EQ(Consumed(tcp.server), before + 300) << "after a look at it";
  Read(tcp.server, 700);
  EXPECT_EQ(Consumed(tcp.server), before + 1000);
}

TEST(TcpCountersTest, WritingCountsAtOnceAndAcknowledgementsDoNot) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect();
  for (const UniqueFd* end : {&tcp.server, &tcp.client}) {
    const uint64_t before = Written(*end);
    Send(*end, 5000);
    EXPECT_EQ(Written(*end), before + 5000);
    ASSERT_TRUE(Acknowledged(*end));
    EXPECT_EQ(Written(*end), before + 5000);
  }
}

TEST(TcpCountersTest, AFullSendBufferCountsWhatItTook) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect();
  const uint64_t before = Written(tcp.server);
  const std::string data(1 << 20, 'x');
  uint64_t taken = 0;
  ssize_t sent;
  while ((sent = ::send(tcp.server.get(), data.data(), data.size(),
                        MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
    taken += static_cast<uint64_t>(sent);
    EXPECT_EQ(Written(tcp.server), before + taken);
  }
  EXPECT_GT(taken, 0u);
}

TEST(TcpCountersTest, AFinIsNotCountedWhateverTheStateItLeavesBehind) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect();
  Send(tcp.client, 100);
  ASSERT_TRUE(Arrived(tcp.server, 100));
  const uint64_t before = Consumed(tcp.server);
  const uint64_t written = Written(tcp.server);
  ASSERT_EQ(::shutdown(tcp.client.get(), SHUT_WR), 0);
  ASSERT_TRUE(Event(tcp.server, POLLRDHUP));
  EXPECT_EQ(Consumed(tcp.server), before) << "CLOSE_WAIT, data unread";
  Read(tcp.server, 100);
  EXPECT_EQ(Consumed(tcp.server), before + 100) << "CLOSE_WAIT, FIN unread";
  char byte;
  ASSERT_EQ(::recv(tcp.server.get(), &byte, 1, 0), 0);
  EXPECT_EQ(Consumed(tcp.server), before + 100) << "CLOSE_WAIT, all read";
  EXPECT_EQ(Written(tcp.server), written);

  // Ours as well: the connection is over, the socket in CLOSE.
  ASSERT_EQ(::shutdown(tcp.server.get(), SHUT_WR), 0);
  ASSERT_TRUE(Event(tcp.server, POLLHUP));
  ASSERT_TRUE(Acknowledged(tcp.server));
  EXPECT_EQ(Consumed(tcp.server), before + 100) << "CLOSE";
  EXPECT_EQ(Written(tcp.server), written + 1) << "the FIN that we sent";
}

// A frozen session whose own half is closed may get the rest and the FIN: its
// socket goes from FIN_WAIT2 to CLOSE.
TEST(TcpCountersTest, AFinAfterOursIsNotCounted) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect();
  ASSERT_EQ(::shutdown(tcp.server.get(), SHUT_WR), 0);
  ASSERT_TRUE(Event(tcp.client, POLLRDHUP));
  const v1::TcpCounters before = Counters(tcp.server);
  Send(tcp.client, 10);
  ASSERT_EQ(::shutdown(tcp.client.get(), SHUT_WR), 0);
  ASSERT_TRUE(Event(tcp.server, POLLHUP));
  EXPECT_EQ(Consumed(tcp.server), before.consumed());
  EXPECT_EQ(Written(tcp.server), before.written());
  Read(tcp.server, 10);
  EXPECT_EQ(Consumed(tcp.server), before.consumed() + 10);
}

TEST(TcpCountersTest, AResetChangesNothing) {
  const NoDescriptorLeak no_leak;
  Connection tcp = Connect();
  Send(tcp.client, 100);
  ASSERT_TRUE(Arrived(tcp.server, 100));
  Read(tcp.server, 40);
  const v1::TcpCounters before = Counters(tcp.server);
  const linger reset = {1, 0};
  ASSERT_EQ(::setsockopt(tcp.client.get(), SOL_SOCKET, SO_LINGER, &reset,
                         sizeof(reset)),
            0);
  tcp.client.reset();
  ASSERT_TRUE(Event(tcp.server, POLLHUP));
  EXPECT_EQ(Consumed(tcp.server), before.consumed());
  EXPECT_EQ(Written(tcp.server), before.written());
  // Reading the counters has not taken the error from whoever reads the socket.
  int error = 0;
  socklen_t length = sizeof(error);
  ASSERT_EQ(
      ::getsockopt(tcp.server.get(), SOL_SOCKET, SO_ERROR, &error, &length), 0);
  EXPECT_EQ(error, ECONNRESET);
}

TEST(TcpCountersTest, AConnectionThatWasTakenApartCountsNothing) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect();
  Send(tcp.client, 100);
  ASSERT_TRUE(Arrived(tcp.server, 100));
  sockaddr unspecified = {};
  unspecified.sa_family = AF_UNSPEC;
  ASSERT_EQ(::connect(tcp.server.get(), &unspecified, sizeof(unspecified)), 0);
  EXPECT_EQ(Consumed(tcp.server), 0u);
}

TEST(TcpCountersTest, AreTheSameThroughADuplicateInAnotherProcess) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect();
  Send(tcp.client, 100);
  ASSERT_TRUE(Arrived(tcp.server, 100));
  const v1::TcpCounters before = Counters(tcp.server);
  const UniqueFd duplicate(::dup(tcp.server.get()));
  EXPECT_EQ(Consumed(duplicate), before.consumed());

  // Untouched, then touched, by a process that holds a duplicate.
  ForkedChild reader([&] {
    char data[7];
    return ::recv(tcp.server.get(), data, sizeof(data), 0) == sizeof(data) ? 0
                                                                           : 1;
  });
  ASSERT_EQ(reader.Wait(), 0);
  EXPECT_EQ(Consumed(tcp.server), before.consumed() + 7);
  EXPECT_EQ(Consumed(duplicate), before.consumed() + 7);
  ForkedChild writer([&] {
    return ::send(duplicate.get(), "abc", 3, MSG_NOSIGNAL) == 3 ? 0 : 1;
  });
  ASSERT_EQ(writer.Wait(), 0);
  EXPECT_EQ(Written(tcp.server), before.written() + 3);
  EXPECT_EQ(Written(duplicate), before.written() + 3);
}

TEST(TcpCountersTest, AreExactWhileTheOtherEndSends) {
  const NoDescriptorLeak no_leak;
  Connection tcp = Connect();
  ForkedChild sender([&] {
    const std::string data(1000, 'x');
    for (int i = 0; i < 20'000; ++i) {
      if (::send(tcp.client.get(), data.data(), data.size(), MSG_NOSIGNAL) <
          0) {
        return 1;
      }
    }
    return 0;
  });
  const uint64_t before = Consumed(tcp.server);
  uint64_t read = 0;
  std::string data(64 * 1024, '\0');
  while (read < 20'000'000) {
    ASSERT_TRUE(Event(tcp.server, POLLIN));
    const ssize_t count =
        ::recv(tcp.server.get(), data.data(), data.size(), MSG_DONTWAIT);
    ASSERT_GT(count, 0);
    read += static_cast<uint64_t>(count);
    ASSERT_EQ(Consumed(tcp.server), before + read);
  }
  EXPECT_EQ(sender.Wait(), 0);
}

TEST(TcpCountersTest, WhatIsNoTcpConnectionHasNone) {
  const NoDescriptorLeak no_leak;
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM, 0));
  const UniqueFd local(::socket(AF_UNIX, SOCK_STREAM, 0));
  for (const int fd :
       {listener.get(), udp.get(), local.get(), STDIN_FILENO, -1}) {
    EXPECT_EQ(ReadTcpCounters(fd).status().code(),
              absl::StatusCode::kInvalidArgument)
        << fd;
  }
}

}  // namespace
}  // namespace handoff
