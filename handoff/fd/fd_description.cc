#include "handoff/fd/fd_description.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace handoff {
namespace {

using v1::DescriptorInfo;

std::string FormatInet(const char* open, int family, const void* host,
                       const char* close, in_port_t port) {
  char text[INET6_ADDRSTRLEN];
  if (::inet_ntop(family, host, text, sizeof(text)) == nullptr) return "";
  return absl::StrCat(open, text, close, ":", ntohs(port));
}

std::string FormatAddress(const sockaddr_storage& address, socklen_t length) {
  if (address.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    return FormatInet("", AF_INET, &v4.sin_addr, "", v4.sin_port);
  }
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof(v6));
    return FormatInet("[", AF_INET6, &v6.sin6_addr, "]", v6.sin6_port);
  }
  if (address.ss_family != AF_UNIX) return "";
  const size_t start = offsetof(sockaddr_un, sun_path);
  if (length <= start) return "unix:";
  const char* path = reinterpret_cast<const char*>(&address) + start;
  const size_t size = length - start;
  // Escaped: a path may hold any byte, a string of a protobuf only UTF-8.
  if (path[0] == '\0') {
    return absl::StrCat(
        "unix:@", absl::CHexEscape(absl::string_view(path + 1, size - 1)));
  }
  return absl::StrCat("unix:", absl::CHexEscape(absl::string_view(
                                   path, ::strnlen(path, size))));
}

int SocketOption(int fd, int option) {
  int value = -1;
  socklen_t length = sizeof(value);
  return ::getsockopt(fd, SOL_SOCKET, option, &value, &length) < 0 ? -1 : value;
}

DescriptorInfo::Kind SocketKind(int fd, int family, bool connected) {
  // A connected socket does not listen: one call less for every session.
  const auto listens = [&] {
    return !connected && SocketOption(fd, SO_ACCEPTCONN) == 1;
  };
  if (family == AF_INET || family == AF_INET6) {
    switch (SocketOption(fd, SO_PROTOCOL)) {
      case IPPROTO_TCP:
        return listens() ? DescriptorInfo::TCP_LISTENER : DescriptorInfo::TCP;
      case IPPROTO_UDP:
        return DescriptorInfo::UDP;
      default:
        return DescriptorInfo::OTHER_SOCKET;
    }
  }
  if (family == AF_UNIX) {
    switch (SocketOption(fd, SO_TYPE)) {
      case SOCK_STREAM:
        return listens() ? DescriptorInfo::UNIX_LISTENER
                         : DescriptorInfo::UNIX_STREAM;
      case SOCK_SEQPACKET:
        return listens() ? DescriptorInfo::UNIX_LISTENER
                         : DescriptorInfo::UNIX_SEQPACKET;
      case SOCK_DGRAM:
        return DescriptorInfo::UNIX_DATAGRAM;
      default:
        return DescriptorInfo::OTHER_SOCKET;
    }
  }
  return DescriptorInfo::OTHER_SOCKET;
}

// `fd` is a socket whose own address is `local`.
absl::StatusOr<DescriptorInfo> DescribeSocket(int fd,
                                              const sockaddr_storage& local,
                                              socklen_t local_length) {
  DescriptorInfo info;
  sockaddr_storage peer;
  socklen_t peer_length = sizeof(peer);
  const bool connected =
      ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_length) == 0;
  info.set_kind(SocketKind(fd, local.ss_family, connected));
  const absl::StatusOr<uint64_t> cookie = SocketCookie(fd);
  if (!cookie.ok()) return cookie.status();
  info.set_socket_cookie(*cookie);
  info.set_local_address(FormatAddress(local, local_length));
  if (connected) info.set_peer_address(FormatAddress(peer, peer_length));
  return info;
}

// By the name that /proc gives: eventfd and the like have no file type of their
// own, a memfd and (since Linux 6.9) a pidfd look like a regular file.
DescriptorInfo::Kind KindByLink(int fd, bool regular) {
  char target[64];
  const std::string link = absl::StrCat("/proc/self/fd/", fd);
  const ssize_t length = ::readlink(link.c_str(), target, sizeof(target));
  absl::string_view name(target, length > 0 ? static_cast<size_t>(length) : 0);
  if (absl::ConsumePrefix(&name, "anon_inode:")) {
    if (absl::ConsumePrefix(&name, "[")) absl::ConsumeSuffix(&name, "]");
    if (name == "eventfd") return DescriptorInfo::EVENTFD;
    if (name == "eventpoll") return DescriptorInfo::EPOLL;
    if (name == "timerfd") return DescriptorInfo::TIMERFD;
    if (name == "inotify") return DescriptorInfo::INOTIFY;
    if (name == "signalfd") return DescriptorInfo::SIGNALFD;
    if (name == "pidfd") return DescriptorInfo::PIDFD;
    if (name == "io_uring") return DescriptorInfo::IO_URING;
    return DescriptorInfo::OTHER;
  }
  if (!regular) return DescriptorInfo::OTHER;
  // Only files of a tmpfs have seals; a memfd is one that no folder names.
  if (absl::StartsWith(name, "/memfd:") && ::fcntl(fd, F_GET_SEALS) >= 0) {
    return DescriptorInfo::MEMFD;
  }
  return DescriptorInfo::FILE;
}

absl::StatusOr<DescriptorInfo> DescribeFile(int fd) {
  struct stat status;
  if (::fstat(fd, &status) < 0) {
    if (errno == EBADF) {
      return absl::FailedPreconditionError(
          absl::StrCat("descriptor ", fd, " is not open"));
    }
    return absl::ErrnoToStatus(errno, "fstat");
  }
  DescriptorInfo info;
  info.set_device(status.st_dev);
  info.set_inode(status.st_ino);
  switch (status.st_mode & S_IFMT) {
    case S_IFIFO:
      info.set_kind(DescriptorInfo::PIPE);
      break;
    case S_IFDIR:
      info.set_kind(DescriptorInfo::DIRECTORY);
      break;
    case S_IFCHR:
      info.set_kind(::isatty(fd) == 1 ? DescriptorInfo::TTY
                                      : DescriptorInfo::CHARACTER_DEVICE);
      break;
    case S_IFBLK:
      info.set_kind(DescriptorInfo::BLOCK_DEVICE);
      break;
    case S_IFREG:
      info.set_kind(KindByLink(fd, /*regular=*/true));
      break;
    case 0:
      info.set_kind(KindByLink(fd, /*regular=*/false));
      break;
    default:
      // A socket's or a symbolic link's name, opened with O_PATH.
      info.set_kind(DescriptorInfo::OTHER);
      break;
  }
  return info;
}

// With the identity: for the message of a mismatch.
std::string FormatIdentity(const DescriptorInfo& info) {
  std::string text = FormatDescriptor(info);
  if (info.socket_cookie() != 0) {
    absl::StrAppend(&text, " (cookie ", info.socket_cookie(), ")");
  } else {
    absl::StrAppend(&text, " (device ", info.device(), ", inode ", info.inode(),
                    ")");
  }
  return text;
}

}  // namespace

absl::StatusOr<DescriptorInfo> DescribeDescriptor(int fd) {
  // Sockets first, without fstat(2): they come by the thousand. EBADF is left
  // to fstat, which also knows descriptors opened with O_PATH.
  sockaddr_storage local;
  socklen_t length = sizeof(local);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) == 0) {
    return DescribeSocket(fd, local, length);
  }
  if (errno == ENOTSOCK || errno == EBADF) return DescribeFile(fd);
  return absl::ErrnoToStatus(errno, "getsockname");
}

absl::Status CheckDescriptor(int fd, const DescriptorInfo& claimed) {
  if (claimed.kind() == DescriptorInfo::TCP &&
      claimed.local_address().empty() && claimed.socket_cookie() != 0) {
    const absl::StatusOr<uint64_t> cookie = SocketCookie(fd);
    if (cookie.ok() && *cookie == claimed.socket_cookie()) {
      return absl::OkStatus();
    }
  }
  absl::StatusOr<DescriptorInfo> actual = DescribeDescriptor(fd);
  if (!actual.ok()) return actual.status();
  const bool disconnected =
      actual->kind() == DescriptorInfo::TCP && actual->peer_address().empty();
  // A socket may have been bound since.
  const bool unbound = absl::EndsWith(claimed.local_address(), ":0") ||
                       claimed.local_address() == "unix:";
  if (actual->kind() == claimed.kind() &&
      actual->socket_cookie() == claimed.socket_cookie() &&
      actual->device() == claimed.device() &&
      actual->inode() == claimed.inode() &&
      (disconnected || unbound ||
       actual->local_address() == claimed.local_address())) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("a descriptor is ", FormatIdentity(*actual),
                   ", the sender says ", FormatIdentity(claimed)));
}

absl::Status CheckPassable(DescriptorInfo::Kind kind) {
  if (kind == DescriptorInfo::IO_URING) {
    return absl::InvalidArgumentError(
        "an io_uring cannot be passed: the kernel refuses it (EINVAL)");
  }
  if (kind == DescriptorInfo::KIND_UNSPECIFIED) {
    return absl::InvalidArgumentError("a descriptor of no known kind");
  }
  return absl::OkStatus();
}

std::string FormatDescriptor(const DescriptorInfo& info) {
  const bool listens = info.kind() == DescriptorInfo::TCP_LISTENER ||
                       info.kind() == DescriptorInfo::UNIX_LISTENER;
  std::string text(listens ? "listener" : KindName(info.kind()));
  if (!info.local_address().empty()) {
    absl::StrAppend(&text, " ", info.local_address());
  }
  if (!info.peer_address().empty()) {
    absl::StrAppend(&text, " <- ", info.peer_address());
  }
  return text;
}

absl::string_view KindName(DescriptorInfo::Kind kind) {
  switch (kind) {
    case DescriptorInfo::TCP_LISTENER:
      return "tcp-listener";
    case DescriptorInfo::TCP:
      return "tcp";
    case DescriptorInfo::UDP:
      return "udp";
    case DescriptorInfo::UNIX_LISTENER:
      return "unix-listener";
    case DescriptorInfo::UNIX_STREAM:
      return "unix-stream";
    case DescriptorInfo::UNIX_DATAGRAM:
      return "unix-datagram";
    case DescriptorInfo::UNIX_SEQPACKET:
      return "unix-seqpacket";
    case DescriptorInfo::PIPE:
      return "pipe";
    case DescriptorInfo::FILE:
      return "file";
    case DescriptorInfo::DIRECTORY:
      return "directory";
    case DescriptorInfo::MEMFD:
      return "memfd";
    case DescriptorInfo::EVENTFD:
      return "eventfd";
    case DescriptorInfo::TIMERFD:
      return "timerfd";
    case DescriptorInfo::INOTIFY:
      return "inotify";
    case DescriptorInfo::SIGNALFD:
      return "signalfd";
    case DescriptorInfo::EPOLL:
      return "epoll";
    case DescriptorInfo::PIDFD:
      return "pidfd";
    case DescriptorInfo::TTY:
      return "tty";
    case DescriptorInfo::IO_URING:
      return "io_uring";
    case DescriptorInfo::CHARACTER_DEVICE:
      return "character-device";
    case DescriptorInfo::BLOCK_DEVICE:
      return "block-device";
    case DescriptorInfo::OTHER_SOCKET:
      return "other-socket";
    case DescriptorInfo::OTHER:
      return "other";
    default:
      return "unspecified";
  }
}

absl::StatusOr<uint64_t> SocketCookie(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  if (::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0) {
    return absl::ErrnoToStatus(errno, "getsockopt(SO_COOKIE)");
  }
  return cookie;
}

}  // namespace handoff
