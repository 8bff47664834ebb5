#include "handoff/fd/descriptor_details.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

constexpr int kDeadlineMilliseconds = 30'000;

v1::DescriptorDetails Read(const UniqueFd& fd) {
  auto details = ReadDescriptorDetails(fd.get());
  EXPECT_TRUE(details.ok()) << details.status();
  return details.ok() ? *details : v1::DescriptorDetails();
}

std::map<std::string, int64_t> Options(const UniqueFd& fd) {
  std::map<std::string, int64_t> options;
  const v1::DescriptorDetails details = Read(fd);
  for (const auto& option : details.options()) {
    EXPECT_TRUE(options.emplace(option.name(), option.value()).second)
        << option.name() << " comes twice";
  }
  return options;
}

void Set(const UniqueFd& fd, int level, int option, int value) {
  ASSERT_EQ(::setsockopt(fd.get(), level, option, &value, sizeof(value)), 0);
}

UniqueFd Listener(int backlog, sockaddr_in* address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  *address = {};
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(*address);
  auto* name = reinterpret_cast<sockaddr*>(address);
  EXPECT_EQ(::bind(fd.get(), name, sizeof(*address)), 0);
  EXPECT_EQ(::listen(fd.get(), backlog), 0);
  EXPECT_EQ(::getsockname(fd.get(), name, &size), 0);
  return fd;
}

UniqueFd ConnectTo(const sockaddr_in& address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address),
                      sizeof(address)),
            0);
  return fd;
}

void WaitReadable(const UniqueFd& fd) {
  pollfd polled = {fd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&polled, 1, kDeadlineMilliseconds), 1) << "nothing came";
}

TEST(DescriptorDetailsTest, ATcpConnectionHasItsOptionsQueuesAndCounters) {
  sockaddr_in address;
  const UniqueFd listener = Listener(8, &address);
  const UniqueFd client = ConnectTo(address);
  const UniqueFd server(::accept(listener.get(), nullptr, nullptr));
  Set(server, SOL_SOCKET, SO_KEEPALIVE, 1);
  Set(server, IPPROTO_TCP, TCP_KEEPIDLE, 77);
  Set(server, IPPROTO_TCP, TCP_NODELAY, 1);
  Set(server, IPPROTO_TCP, TCP_USER_TIMEOUT, 12'345);
  Set(server, IPPROTO_IP, IP_TOS, 0x10);
  auto options = Options(server);
  EXPECT_EQ(options["SO_KEEPALIVE"], 1);
  EXPECT_EQ(options["TCP_KEEPIDLE"], 77);
  EXPECT_EQ(options["TCP_NODELAY"], 1);
  EXPECT_EQ(options["TCP_USER_TIMEOUT"], 12'345);
  EXPECT_EQ(options["IP_TOS"], 0x10);
  EXPECT_EQ(options["SO_LINGER"], -1) << "it is off";
  EXPECT_GT(options["SO_RCVBUF"], 0);
  EXPECT_GT(options["SO_SNDBUF"], 0);
  EXPECT_EQ(options.count("IPV6_V6ONLY"), 0u);
  EXPECT_EQ(options.count("TCP_DEFER_ACCEPT"), 0u);

  ASSERT_EQ(::send(client.get(), "0123456789", 10, MSG_NOSIGNAL), 10);
  WaitReadable(server);
  EXPECT_EQ(Read(server).receive_queue(), 10u);
  char bytes[4];
  ASSERT_EQ(::read(server.get(), bytes, 4), 4);
  const v1::DescriptorDetails details = Read(server);
  EXPECT_EQ(details.receive_queue(), 6u);
  EXPECT_EQ(details.tcp().consumed(), 4u);
}

TEST(DescriptorDetailsTest, BytesThatThePeerDoesNotReadAreInTheSendQueue) {
  sockaddr_in address;
  const UniqueFd listener = Listener(8, &address);
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Before it connects: the window that it offers.
  Set(client, SOL_SOCKET, SO_RCVBUF, 4096);
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address),
                      sizeof(address)),
            0);
  const UniqueFd server(
      ::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
  const std::string bytes(256 * 1024, 'x');
  uint64_t sent = 0;
  for (ssize_t n = 0; n >= 0; sent += static_cast<uint64_t>(n)) {
    n = ::send(server.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0) break;
  }
  const v1::DescriptorDetails details = Read(server);
  EXPECT_GT(details.send_queue(), 0u);
  EXPECT_LE(details.send_queue(), sent);
  EXPECT_EQ(details.tcp().written(), sent);
}

TEST(DescriptorDetailsTest, AListenerSaysHowManyConnectionsWaitAndMay) {
  sockaddr_in address;
  const UniqueFd listener = Listener(17, &address);
  EXPECT_EQ(Read(listener).receive_queue(), 0u);
  EXPECT_EQ(Read(listener).send_queue(), 17u);
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(ConnectTo(address));
  // The last step of a handshake may come to the listener after connect().
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (Read(listener).receive_queue() < 3 && absl::Now() < deadline) {
    ::sched_yield();
  }
  EXPECT_EQ(Read(listener).receive_queue(), 3u);
  Set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  auto options = Options(listener);
  EXPECT_EQ(options["SO_REUSEADDR"], 1);
  EXPECT_EQ(options.count("SO_REUSEPORT"), 1u);
  EXPECT_EQ(options.count("TCP_DEFER_ACCEPT"), 1u);
  EXPECT_FALSE(Read(listener).has_tcp());
}

TEST(DescriptorDetailsTest, AnIpv6SocketHasTheOptionsOfIpv6) {
  const UniqueFd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) GTEST_SKIP() << "no IPv6";
  Set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  auto options = Options(fd);
  EXPECT_EQ(options["IPV6_V6ONLY"], 1);
  EXPECT_EQ(options.count("IP_TOS"), 0u);
  EXPECT_EQ(options.count("SO_BROADCAST"), 1u);
  EXPECT_EQ(options.count("TCP_NODELAY"), 0u);
}

TEST(DescriptorDetailsTest, AUnixSocketHasQueuesAndNoOptionsOfTcp) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd one(ends[0]);
  const UniqueFd other(ends[1]);
  ASSERT_EQ(::send(one.get(), "hello", 5, MSG_NOSIGNAL), 5);
  EXPECT_EQ(Read(other).receive_queue(), 5u);
  EXPECT_GE(Read(one).send_queue(), 5u);
  Set(other, SOL_SOCKET, SO_PASSCRED, 1);
  auto options = Options(other);
  EXPECT_EQ(options["SO_PASSCRED"], 1);
  EXPECT_EQ(options.count("SO_REUSEADDR"), 0u);
  EXPECT_EQ(options.count("TCP_NODELAY"), 0u);
}

TEST(DescriptorDetailsTest, WhatIsNoSocketHasNone) {
  const UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
  EXPECT_EQ(Read(fd).ByteSizeLong(), 0u);
}

TEST(DescriptorDetailsTest, ADescriptorThatIsNotOpenIsAnError) {
  EXPECT_EQ(ReadDescriptorDetails(-1).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace handoff
