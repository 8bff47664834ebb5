#include "handoff/fd/fd_description.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

using v1::DescriptorInfo;

DescriptorInfo Describe(int fd) {
  absl::StatusOr<DescriptorInfo> info = DescribeDescriptor(fd);
  EXPECT_TRUE(info.ok()) << info.status();
  return info.ok() ? *info : DescriptorInfo();
}

std::string Kind(const UniqueFd& fd) {
  EXPECT_TRUE(fd.valid()) << std::strerror(errno);
  return absl::StrCat(KindName(Describe(fd.get()).kind()));
}

UniqueFd Socket(int domain, int type, int protocol = 0) {
  return UniqueFd(::socket(domain, type | SOCK_CLOEXEC, protocol));
}

template <typename Address>
bool Bind(const UniqueFd& socket, const Address& address,
          socklen_t length = sizeof(Address)) {
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                length) == 0;
}

sockaddr_in Loopback4(in_port_t port = 0) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = port;
  return address;
}

sockaddr_in6 Loopback6() {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  return address;
}

sockaddr_un UnixPath(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

struct Connection {
  UniqueFd listener;
  UniqueFd client;
  UniqueFd server;
};

Connection Connect4() {
  Connection tcp;
  tcp.listener = Socket(AF_INET, SOCK_STREAM);
  tcp.client = Socket(AF_INET, SOCK_STREAM);
  sockaddr_in address = Loopback4();
  socklen_t length = sizeof(address);
  EXPECT_TRUE(Bind(tcp.listener, address));
  EXPECT_EQ(::listen(tcp.listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(tcp.listener.get(),
                          reinterpret_cast<sockaddr*>(&address), &length),
            0);
  EXPECT_EQ(::connect(tcp.client.get(), reinterpret_cast<sockaddr*>(&address),
                      sizeof(address)),
            0);
  tcp.server.reset(::accept(tcp.listener.get(), nullptr, nullptr));
  return tcp;
}

TEST(FdDescriptionTest, KnowsTcpSocketsAndTheirAddresses) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect4();
  const DescriptorInfo listener = Describe(tcp.listener.get());
  const DescriptorInfo client = Describe(tcp.client.get());
  const DescriptorInfo server = Describe(tcp.server.get());
  EXPECT_EQ(listener.kind(), DescriptorInfo::TCP_LISTENER);
  EXPECT_EQ(client.kind(), DescriptorInfo::TCP);
  EXPECT_EQ(server.kind(), DescriptorInfo::TCP);
  EXPECT_TRUE(absl::StartsWith(listener.local_address(), "127.0.0.1:"))
      << listener.local_address();
  EXPECT_EQ(listener.peer_address(), "");
  EXPECT_EQ(client.peer_address(), listener.local_address());
  EXPECT_EQ(server.local_address(), listener.local_address());
  EXPECT_EQ(server.peer_address(), client.local_address());
  EXPECT_NE(client.socket_cookie(), 0u);
  EXPECT_NE(client.socket_cookie(), server.socket_cookie());
  EXPECT_EQ(client.device(), 0u);
  EXPECT_EQ(client.inode(), 0u);
  EXPECT_EQ(FormatDescriptor(listener), "listener " + listener.local_address());
  EXPECT_EQ(FormatDescriptor(server), "tcp " + listener.local_address() +
                                          " <- " + client.local_address());
}

TEST(FdDescriptionTest, KnowsIpv6) {
  const NoDescriptorLeak no_leak;
  const UniqueFd socket = Socket(AF_INET6, SOCK_STREAM);
  if (!Bind(socket, Loopback6())) GTEST_SKIP() << "no IPv6 here";
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  const DescriptorInfo info = Describe(socket.get());
  EXPECT_EQ(info.kind(), DescriptorInfo::TCP_LISTENER);
  EXPECT_TRUE(absl::StartsWith(info.local_address(), "[::1]:"))
      << info.local_address();
}

TEST(FdDescriptionTest, KnowsOtherSockets) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  EXPECT_EQ(Kind(Socket(AF_INET, SOCK_STREAM)), "tcp");
  EXPECT_EQ(Kind(Socket(AF_INET, SOCK_DGRAM)), "udp");
  EXPECT_EQ(Kind(Socket(AF_UNIX, SOCK_STREAM)), "unix-stream");
  EXPECT_EQ(Kind(Socket(AF_UNIX, SOCK_DGRAM)), "unix-datagram");
  EXPECT_EQ(Kind(Socket(AF_UNIX, SOCK_SEQPACKET)), "unix-seqpacket");
  EXPECT_EQ(Kind(Socket(AF_NETLINK, SOCK_RAW)), "other-socket");
  const UniqueFd listener = Socket(AF_UNIX, SOCK_STREAM);
  ASSERT_TRUE(Bind(listener, UnixPath(folder / "s")));
  EXPECT_EQ(Kind(listener), "unix-stream") << "bound, but not listening";
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(Kind(listener), "unix-listener");
  const UniqueFd packets = Socket(AF_UNIX, SOCK_SEQPACKET);
  ASSERT_TRUE(Bind(packets, UnixPath(folder / "p")));
  ASSERT_EQ(::listen(packets.get(), 1), 0);
  EXPECT_EQ(Kind(packets), "unix-listener");
}

TEST(FdDescriptionTest, WritesUnixAddressesSoThatEachIsUtf8AndItsOwn) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const auto address_of = [](const sockaddr_un& address, size_t path_bytes) {
    const UniqueFd socket = Socket(AF_UNIX, SOCK_STREAM);
    EXPECT_TRUE(Bind(
        socket, address,
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_bytes)))
        << std::strerror(errno);
    return Describe(socket.get()).local_address();
  };
  const std::string path = folder / "plain";
  EXPECT_EQ(address_of(UnixPath(path), path.size()), "unix:" + path);
  const std::string odd = folder / "\xff\n";
  EXPECT_EQ(address_of(UnixPath(odd), odd.size()),
            "unix:" + (folder / "\\xff\\n"));
  // The longest: there is no NUL after it.
  std::string longest = folder / "";
  longest.resize(108, 'l');
  EXPECT_EQ(address_of(UnixPath(longest), longest.size()), "unix:" + longest);
  const std::string pid = absl::StrCat("-", ::getpid());
  const std::string abstract =
      absl::StrCat(absl::string_view("\0handoff-test\0", 14), pid);
  EXPECT_EQ(address_of(UnixPath(abstract), abstract.size()),
            absl::StrCat("unix:@handoff-test\\x00", pid));
  EXPECT_EQ(Describe(Socket(AF_UNIX, SOCK_STREAM).get()).local_address(),
            "unix:");
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const UniqueFd a(pair[0]);
  const UniqueFd b(pair[1]);
  EXPECT_EQ(FormatDescriptor(Describe(a.get())), "unix-stream unix: <- unix:");
}

TEST(FdDescriptionTest, KnowsFiles) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "file";
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT, 0600));
  EXPECT_EQ(Kind(file), "file");
  struct stat status;
  ASSERT_EQ(::fstat(file.get(), &status), 0);
  const DescriptorInfo info = Describe(file.get());
  EXPECT_EQ(info.device(), status.st_dev);
  EXPECT_EQ(info.inode(), status.st_ino);
  EXPECT_EQ(info.socket_cookie(), 0u);
  EXPECT_EQ(info.local_address(), "");
  EXPECT_EQ(FormatDescriptor(info), "file");
  ASSERT_EQ(::unlink(path.c_str()), 0);
  EXPECT_EQ(Kind(file), "file") << "unlinked";

  EXPECT_EQ(Kind(UniqueFd(::open(folder.path().c_str(), O_DIRECTORY))),
            "directory");
  EXPECT_EQ(Kind(UniqueFd(::open("/dev/null", O_RDWR))), "character-device");
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  EXPECT_EQ(Kind(reader), "pipe");
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(Kind(UniqueFd(::open((folder / "fifo").c_str(), O_RDWR))), "pipe");
  const UniqueFd terminal(::posix_openpt(O_RDWR | O_NOCTTY));
  EXPECT_EQ(Kind(terminal), "tty");
}

TEST(FdDescriptionTest, KnowsABlockDevice) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "block";
  if (::mknod(path.c_str(), S_IFBLK | 0600, makedev(7, 0)) < 0) {
    GTEST_SKIP() << "this user may not make a device";
  }
  EXPECT_EQ(Kind(UniqueFd(::open(path.c_str(), O_PATH))), "block-device");
}

TEST(FdDescriptionTest, TellsAMemfdFromAFileOfThatName) {
  const NoDescriptorLeak no_leak;
  EXPECT_EQ(Kind(UniqueFd(::memfd_create("x", MFD_ALLOW_SEALING))), "memfd");
  EXPECT_EQ(Kind(UniqueFd(::memfd_create("not sealable", 0))), "memfd");
  const TempFolder folder;
  EXPECT_EQ(Kind(UniqueFd(
                ::open((folder / "memfd:x").c_str(), O_RDWR | O_CREAT, 0600))),
            "file");
}

TEST(FdDescriptionTest, KnowsWhatHasNoFileOfItsOwn) {
  const NoDescriptorLeak no_leak;
  sigset_t none;
  sigemptyset(&none);
  EXPECT_EQ(Kind(UniqueFd(::eventfd(0, 0))), "eventfd");
  EXPECT_EQ(Kind(UniqueFd(::timerfd_create(CLOCK_MONOTONIC, 0))), "timerfd");
  EXPECT_EQ(Kind(UniqueFd(::inotify_init1(0))), "inotify");
  EXPECT_EQ(Kind(UniqueFd(::signalfd(-1, &none, 0))), "signalfd");
  EXPECT_EQ(Kind(UniqueFd(::epoll_create1(0))), "epoll");
  absl::StatusOr<UniqueFd> pidfd = OwnPidfd();
  ASSERT_TRUE(pidfd.ok()) << pidfd.status();
  EXPECT_EQ(Kind(*pidfd), "pidfd");
}

// What the table says of io_uring is what the kernel does.
TEST(FdDescriptionTest, AnIoUringCannotBePassed) {
  const NoDescriptorLeak no_leak;
  io_uring_params parameters = {};
  const UniqueFd ring(
      static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters)));
  if (!ring.valid()) GTEST_SKIP() << "io_uring: " << std::strerror(errno);
  EXPECT_EQ(Kind(ring), "io_uring");
  EXPECT_EQ(CheckPassable(DescriptorInfo::IO_URING).code(),
            absl::StatusCode::kInvalidArgument);
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  const UniqueFd a(pair[0]);
  const UniqueFd b(pair[1]);
  EXPECT_EQ(SendMessage(a.get(), "x", {ring.get()}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(FdDescriptionTest, EveryOtherKnownKindCanBePassed) {
  EXPECT_EQ(CheckPassable(DescriptorInfo::KIND_UNSPECIFIED).code(),
            absl::StatusCode::kInvalidArgument);
  for (int value = 1; value <= DescriptorInfo::Kind_MAX; ++value) {
    const auto kind = static_cast<DescriptorInfo::Kind>(value);
    EXPECT_NE(KindName(kind), "unspecified") << value;
    if (kind == DescriptorInfo::IO_URING) continue;
    EXPECT_TRUE(CheckPassable(kind).ok()) << KindName(kind);
  }
  // From a peer of a later version.
  EXPECT_EQ(KindName(static_cast<DescriptorInfo::Kind>(1000)), "unspecified");
}

TEST(FdDescriptionTest, WorksOnDescriptorsThatOnlyNameAPath) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const UniqueFd socket = Socket(AF_UNIX, SOCK_STREAM);
  ASSERT_TRUE(Bind(socket, UnixPath(folder / "s")));
  const UniqueFd name(::open((folder / "s").c_str(), O_PATH));
  EXPECT_EQ(Kind(name), "other");
  EXPECT_EQ(Kind(UniqueFd(::open(folder.path().c_str(), O_PATH))), "directory");
}

TEST(FdDescriptionTest, ADescriptorThatIsNotOpenIsAnError) {
  EXPECT_EQ(DescribeDescriptor(999'999).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DescribeDescriptor(-1).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CheckDescriptor(-1, DescriptorInfo()).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(FdDescriptionTest, ADuplicateThatWasSentIsTheSame) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect4();
  const UniqueFd file(::memfd_create("x", 0));
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  const UniqueFd a(pair[0]);
  const UniqueFd b(pair[1]);
  ASSERT_TRUE(SendMessage(a.get(), "x",
                          {tcp.listener.get(), tcp.server.get(), file.get()})
                  .ok());
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(b.get());
  ASSERT_TRUE(message.ok()) << message.status();
  ASSERT_EQ(message->descriptors.size(), 3u);
  const int sent[] = {tcp.listener.get(), tcp.server.get(), file.get()};
  for (size_t i = 0; i < 3; ++i) {
    const absl::Status same =
        CheckDescriptor(message->descriptors[i].get(), Describe(sent[i]));
    EXPECT_TRUE(same.ok()) << same;
  }
}

TEST(FdDescriptionTest, AClaimThatIsWrongInAnyFieldIsRefusedWithBothSides) {
  const NoDescriptorLeak no_leak;
  const Connection tcp = Connect4();
  const UniqueFd file(::memfd_create("x", 0));
  const DescriptorInfo server = Describe(tcp.server.get());
  const DescriptorInfo memfd = Describe(file.get());
  ASSERT_TRUE(CheckDescriptor(tcp.server.get(), server).ok());
  ASSERT_TRUE(CheckDescriptor(file.get(), memfd).ok());

  const auto refused = [](int fd, const DescriptorInfo& claimed) {
    return CheckDescriptor(fd, claimed).code() ==
           absl::StatusCode::kFailedPrecondition;
  };
  DescriptorInfo claim = server;
  claim.set_kind(DescriptorInfo::TCP_LISTENER);
  EXPECT_TRUE(refused(tcp.server.get(), claim)) << "kind";
  claim = server;
  claim.set_socket_cookie(server.socket_cookie() + 1);
  EXPECT_TRUE(refused(tcp.server.get(), claim)) << "cookie";
  claim = server;
  claim.set_local_address("127.0.0.1:1");
  EXPECT_TRUE(refused(tcp.server.get(), claim)) << "address";
  claim = server;
  claim.set_inode(1);
  EXPECT_TRUE(refused(tcp.server.get(), claim)) << "inode of a socket";
  claim = memfd;
  claim.set_inode(memfd.inode() + 1);
  EXPECT_TRUE(refused(file.get(), claim)) << "inode";
  claim = memfd;
  claim.set_device(memfd.device() + 1);
  EXPECT_TRUE(refused(file.get(), claim)) << "device";
  EXPECT_TRUE(refused(file.get(), DescriptorInfo())) << "nothing claimed";
  EXPECT_TRUE(refused(tcp.client.get(), server)) << "the other end";

  const absl::Status mismatch = CheckDescriptor(file.get(), server);
  EXPECT_TRUE(absl::StrContains(mismatch.message(), "memfd (device ") &&
              absl::StrContains(mismatch.message(), "the sender says tcp 127."))
      << mismatch;
}

TEST(FdDescriptionTest, OfAConnectionTheCookieAloneIsEnough) {
  const NoDescriptorLeak no_leak;
  Connection tcp = Connect4();
  const UniqueFd file(::memfd_create("x", 0));
  DescriptorInfo claim;
  claim.set_kind(DescriptorInfo::TCP);
  const auto cookie = SocketCookie(tcp.server.get());
  ASSERT_TRUE(cookie.ok()) << cookie.status();
  claim.set_socket_cookie(*cookie);
  EXPECT_TRUE(CheckDescriptor(tcp.server.get(), claim).ok());
  EXPECT_FALSE(CheckDescriptor(tcp.client.get(), claim).ok());
  EXPECT_FALSE(CheckDescriptor(file.get(), claim).ok());
  EXPECT_FALSE(CheckDescriptor(-1, claim).ok());
  tcp.client.reset();
  EXPECT_TRUE(CheckDescriptor(tcp.server.get(), claim).ok())
      << "it is the same when the other end is gone";
  // Not of anything else: what it is would not be compared.
  claim.set_kind(DescriptorInfo::UDP);
  EXPECT_FALSE(CheckDescriptor(tcp.server.get(), claim).ok());
  claim.set_kind(DescriptorInfo::TCP);
  claim.set_socket_cookie(0);
  EXPECT_FALSE(CheckDescriptor(tcp.server.get(), claim).ok());
  EXPECT_FALSE(SocketCookie(file.get()).ok());
}

TEST(FdDescriptionTest, ASocketThatIsBoundAfterItWasDescribedIsTheSame) {
  const NoDescriptorLeak no_leak;
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM, 0));
  const DescriptorInfo before = Describe(udp.get());
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(9);
  ASSERT_EQ(::connect(udp.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)),
            0);
  ASSERT_NE(Describe(udp.get()).local_address(), before.local_address());
  EXPECT_TRUE(CheckDescriptor(udp.get(), before).ok());
}

// A client may reset its connection at any instant of a handoff.
TEST(FdDescriptionTest, AConnectionThatEndsMeanwhileIsStillTheSame) {
  const NoDescriptorLeak no_leak;
  Connection tcp = Connect4();
  const DescriptorInfo server = Describe(tcp.server.get());
  const linger reset = {1, 0};
  ASSERT_EQ(::setsockopt(tcp.client.get(), SOL_SOCKET, SO_LINGER, &reset,
                         sizeof(reset)),
            0);
  tcp.client.reset();
  absl::Status same = CheckDescriptor(tcp.server.get(), server);
  EXPECT_TRUE(same.ok()) << same;
  EXPECT_EQ(Describe(tcp.server.get()).peer_address(), "");

  // Ended by ourselves, which takes its own address away too.
  sockaddr unspecified = {};
  unspecified.sa_family = AF_UNSPEC;
  ASSERT_EQ(::connect(tcp.server.get(), &unspecified, sizeof(unspecified)), 0);
  same = CheckDescriptor(tcp.server.get(), server);
  EXPECT_TRUE(same.ok()) << same;
  DescriptorInfo claim = server;
  claim.set_socket_cookie(1);
  EXPECT_FALSE(CheckDescriptor(tcp.server.get(), claim).ok());
}

}  // namespace
}  // namespace handoff
