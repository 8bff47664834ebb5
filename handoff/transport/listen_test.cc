#include "handoff/transport/listen.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/transport/unix_path.h"

namespace handoff {
namespace {

absl::StatusCode BindCode(absl::string_view address) {
  return BindListener(address).status().code();
}

UniqueFd BindOrFail(absl::string_view address) {
  absl::StatusOr<UniqueFd> listener = BindListener(address);
  EXPECT_TRUE(listener.ok()) << listener.status();
  return listener.ok() ? *std::move(listener) : UniqueFd();
}

sockaddr_storage AddressOf(const UniqueFd& socket) {
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address),
                          &length),
            0);
  return address;
}

in_port_t PortOf(const UniqueFd& socket) {
  const sockaddr_storage address = AddressOf(socket);
  in_port_t port = 0;
  // At the same place in sockaddr_in and sockaddr_in6.
  std::memcpy(
      &port,
      reinterpret_cast<const char*>(&address) + offsetof(sockaddr_in, sin_port),
      sizeof(port));
  return ntohs(port);
}

bool Connects(const sockaddr_storage& address, socklen_t length) {
  const UniqueFd client(::socket(address.ss_family, SOCK_STREAM, 0));
  return ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address),
                   length) == 0;
}

sockaddr_storage UnixPath(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  sockaddr_storage storage = {};
  std::memcpy(&storage, &address, sizeof(address));
  return storage;
}

bool Reaches(const std::string& path) {
  return Connects(UnixPath(path), sizeof(sockaddr_un));
}

UniqueFd BindRaw(const std::string& path, int type) {
  UniqueFd socket(::socket(AF_UNIX, type, 0));
  const sockaddr_storage address = UnixPath(path);
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof(sockaddr_un)),
            0)
      << std::strerror(errno);
  return socket;
}

ino_t Inode(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

int FilesIn(const TempFolder& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(folder.path())) {
    ++count;
  }
  return count;
}

TEST(ListenTest, ListensAtAnIpv4Address) {
  const NoDescriptorLeak no_leak;
  const UniqueFd listener = BindOrFail("tcp:127.0.0.1:0");
  const sockaddr_storage address = AddressOf(listener);
  EXPECT_EQ(address.ss_family, AF_INET);
  EXPECT_NE(PortOf(listener), 0);
  EXPECT_TRUE(Connects(address, sizeof(sockaddr_in)));
  EXPECT_EQ(::fcntl(listener.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(::fcntl(listener.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(ListenTest, ListensAtAnIpv6Address) {
  const NoDescriptorLeak no_leak;
  absl::StatusOr<UniqueFd> listener = BindListener("tcp:[::1]:0");
  if (listener.status().message().find("Cannot assign") !=
          absl::string_view::npos ||
      listener.status().message().find("not supported") !=
          absl::string_view::npos) {
    GTEST_SKIP() << "no IPv6 here: " << listener.status();
  }
  ASSERT_TRUE(listener.ok()) << listener.status();
  const sockaddr_storage address = AddressOf(*listener);
  EXPECT_EQ(address.ss_family, AF_INET6);
  EXPECT_TRUE(Connects(address, sizeof(sockaddr_in6)));
}

TEST(ListenTest, WhatIsBoundBesideHasTheAddressAndDoesNotListenYet) {
  const NoDescriptorLeak no_leak;
  for (const char* address : {"tcp:127.0.0.1:0", "tcp:[::1]:0", "tcp:[::]:0"}) {
    ListenOptions options;
    options.reuse_port = true;
    options.listen = false;
    absl::StatusOr<UniqueFd> first = BindListener(address, options);
    if (!first.ok() && absl::StrContains(address, "[")) continue;  // no IPv6
    ASSERT_TRUE(first.ok()) << first.status();
    const sockaddr_storage at = AddressOf(*first);
    const socklen_t size =
        at.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    EXPECT_FALSE(Connects(at, size));
    ASSERT_EQ(::listen(first->get(), 10), 0);
    absl::StatusOr<UniqueFd> second = BindBeside(first->get());
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(PortOf(*second), PortOf(*first));
    EXPECT_EQ(AddressOf(*second).ss_family, at.ss_family);
    EXPECT_EQ(::fcntl(second->get(), F_GETFD), FD_CLOEXEC);
    EXPECT_NE(::fcntl(second->get(), F_GETFL) & O_NONBLOCK, 0);
    first->reset();
    EXPECT_FALSE(Connects(at, size)) << "it listens";
    ASSERT_EQ(::listen(second->get(), 10), 0);
    EXPECT_TRUE(Connects(at, size));
  }
}

TEST(ListenTest, NothingIsBoundBesideWhatIsNotShared) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  for (const std::string& address :
       {std::string("tcp:127.0.0.1:0"), "unix:" + (folder / "s")}) {
    const UniqueFd listener = BindOrFail(address);
    EXPECT_EQ(BindBeside(listener.get()).status().code(),
              absl::StatusCode::kFailedPrecondition)
        << address;
  }
}

TEST(ListenTest, BesideAnotherUsersListenerNothingIsBound) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  constexpr uid_t kAnother = 12345;
  if (::fchown(listener.get(), kAnother, -1) != 0) {
    GTEST_SKIP() << "only root can be several users";
  }
  const int on = 1;
  ASSERT_EQ(
      ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)),
      0);
  ASSERT_EQ(::listen(listener.get(), 10), 0) << std::strerror(errno);
  EXPECT_EQ(BindBeside(listener.get()).status().code(),
            absl::StatusCode::kAlreadyExists);
}

TEST(ListenTest, ListensAtAName) {
  const NoDescriptorLeak no_leak;
  const UniqueFd listener = BindOrFail("tcp:localhost:0");
  EXPECT_NE(PortOf(listener), 0);
}

TEST(ListenTest, TakesAPortThatWasInUseAMomentAgo) {
  const NoDescriptorLeak no_leak;
  UniqueFd listener = BindOrFail("tcp:127.0.0.1:0");
  const std::string address = absl::StrCat("tcp:127.0.0.1:", PortOf(listener));
  EXPECT_EQ(BindCode(address), absl::StatusCode::kAlreadyExists);
  // Its connection stays behind in TIME_WAIT.
  const sockaddr_storage target = AddressOf(listener);
  UniqueFd client(::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&target),
                      sizeof(sockaddr_in)),
            0);
  UniqueFd accepted(::accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(accepted.valid());
  accepted.reset();
  client.reset();
  listener.reset();
  EXPECT_EQ(BindCode(address), absl::StatusCode::kOk);
}

TEST(ListenTest, ListensAtAUnixPath) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const UniqueFd listener = BindOrFail("unix:" + (folder / "s"));
  EXPECT_TRUE(Reaches(folder / "s"));
  EXPECT_EQ(FilesIn(folder), 1) << "something was left behind";
  EXPECT_EQ(::fcntl(listener.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(::fcntl(listener.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(ListenTest, WhereAListenerWasBoundIsKnownAfterwards) {
  const TempFolder folder;
  const std::string path = folder / "socket";
  const UniqueFd listener = BindOrFail(absl::StrCat("unix:", path));
  EXPECT_TRUE(IsBoundAt(listener.get(), path));
  EXPECT_FALSE(IsBoundAt(listener.get(), path.substr(0, path.size() - 1)));
  EXPECT_FALSE(IsBoundAt(listener.get(), absl::StrCat(path, "t")));
  const std::string other = absl::StrCat(path, ".old");
  const UniqueFd another = BindOrFail(absl::StrCat("unix:", other));
  EXPECT_TRUE(IsBoundAt(another.get(), other));
  EXPECT_FALSE(IsBoundAt(another.get(), path));
  std::string longest = folder / "s";
  longest.resize(kMaxUnixPathBytes, 'x');
  const UniqueFd by_folder = BindOrFail(absl::StrCat("unix:", longest));
  EXPECT_TRUE(IsBoundAt(by_folder.get(), longest));
  EXPECT_FALSE(IsBoundAt(by_folder.get(), path));
  EXPECT_FALSE(IsBoundAt(BindOrFail("tcp:127.0.0.1:0").get(), path));
}

TEST(ListenTest, TakesTheLongestUnixPathThereIs) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path =
      absl::StrCat(folder.path(), "/", std::string(107, 'x')).substr(0, 107);
  const UniqueFd listener = BindOrFail("unix:" + path);
  EXPECT_TRUE(Reaches(path));
  EXPECT_EQ(FilesIn(folder), 1) << "something was left behind";
  EXPECT_EQ(BindCode(absl::StrCat("unix:", path, "x")),
            absl::StatusCode::kInvalidArgument);
}

TEST(ListenTest, ReplacesAUnixPathThatNobodyHasOpen) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
    BindRaw(path, type).reset();
    EXPECT_FALSE(Reaches(path));
    const UniqueFd listener = BindOrFail("unix:" + path);
    EXPECT_TRUE(Reaches(path));
    ASSERT_EQ(::unlink(path.c_str()), 0);
  }
  EXPECT_EQ(FilesIn(folder), 0) << "something was left behind";
}

TEST(ListenTest, LeavesAUnixPathAloneThatSomebodyHasOpen) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
    const UniqueFd socket = BindRaw(path, type);
    const ino_t inode = Inode(path);
    EXPECT_EQ(BindCode("unix:" + path), absl::StatusCode::kAlreadyExists)
        << "bound, of type " << type;
    if (type != SOCK_DGRAM) {
      ASSERT_EQ(::listen(socket.get(), 0), 0);
      EXPECT_EQ(BindCode("unix:" + path), absl::StatusCode::kAlreadyExists);
      // Who listens there has not seen us.
      pollfd waiting = {socket.get(), POLLIN, 0};
      EXPECT_EQ(::poll(&waiting, 1, 0), 0);
    }
    EXPECT_EQ(Inode(path), inode);
    ASSERT_EQ(::unlink(path.c_str()), 0);
  }
  EXPECT_EQ(FilesIn(folder), 0) << "something was left behind";
}

TEST(ListenTest, LeavesAFileThatIsNoSocketAlone) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "file";
  UniqueFd(::open(path.c_str(), O_CREAT | O_RDWR, 0600)).reset();
  ASSERT_EQ(::symlink("/nowhere", (folder / "link").c_str()), 0);
  for (const char* name : {"file", "link"}) {
    const ino_t inode = Inode(folder / name);
    EXPECT_EQ(BindCode("unix:" + (folder / name)),
              absl::StatusCode::kAlreadyExists)
        << name;
    EXPECT_EQ(Inode(folder / name), inode) << name;
  }
  EXPECT_EQ(FilesIn(folder), 2);
}

TEST(ListenTest, AFolderOrHostThatDoesNotExistIsNotFound) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  EXPECT_EQ(BindCode("unix:" + (folder / "missing/s")),
            absl::StatusCode::kNotFound);
  // No label of a name is longer than 63 bytes (RFC 1035), so no resolver is
  // asked, which might be slow or not there.
  const std::string host(64, 'x');
  EXPECT_EQ(BindCode(absl::StrCat("tcp:", host, ".invalid:80")),
            absl::StatusCode::kNotFound);
}

TEST(ListenTest, RefusesAMalformedAddress) {
  const NoDescriptorLeak no_leak;
  for (const absl::string_view address : {
           "",
           "tcp",
           "tcp:",
           "tcp::80",
           "tcp:127.0.0.1",
           "tcp:127.0.0.1:",
           "tcp:127.0.0.1:x",
           "tcp:127.0.0.1:-1",
           "tcp:127.0.0.1:+1",
           "tcp:127.0.0.1: 1",
           "tcp:127.0.0.1:65536",
           "tcp:127.0.0.1:99999999999999999999",
           "tcp:::1:80",
           "tcp:[::1]",
           "tcp:[::1:80",
           "tcp:[]:80",
           "tcp:[localhost]:80",
           "tcp:[127.0.0.1]:80",
           "tcp:]:80",
           "udp:127.0.0.1:80",
           "127.0.0.1:80",
           "unix:",
           "unix:relative",
           "unix:@abstract",
           "TCP:127.0.0.1:0",
       }) {
    const absl::Status status = BindListener(address).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument)
        << "\"" << address << "\": " << status;
  }
  const std::string nul = std::string("unix:/tmp/a\0b", 13);
  EXPECT_EQ(BindCode(nul), absl::StatusCode::kInvalidArgument);
  const std::string nul_host = std::string("tcp:127.0.0.1\0x:80", 18);
  EXPECT_EQ(BindCode(nul_host), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace handoff
