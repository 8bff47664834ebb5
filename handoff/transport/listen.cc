#include "handoff/transport/listen.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "handoff/transport/unix_path.h"

namespace handoff {
namespace {

constexpr int kStream = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

absl::Status Malformed(absl::string_view address, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", address, "\": ", why,
      "; an address is tcp:HOST:PORT, tcp:[v6]:PORT or unix:/path"));
}

absl::Status SocketError(int error, absl::string_view call,
                         absl::string_view address) {
  const std::string what = absl::StrCat(call, " ", address);
  if (error == EADDRINUSE) {
    return absl::AlreadyExistsError(
        absl::StrCat(what, ": the address is in use"));
  }
  return absl::ErrnoToStatus(error, what);
}

absl::Status ResolveError(int error, int system_error,
                          absl::string_view address) {
  const std::string what =
      absl::StrCat("resolve ", address, ": ", ::gai_strerror(error));
  switch (error) {
    case EAI_SYSTEM:
      return absl::ErrnoToStatus(system_error, what);
    case EAI_AGAIN:
      return absl::UnavailableError(what);
    case EAI_MEMORY:
      return absl::ResourceExhaustedError(what);
    default:
      return absl::NotFoundError(what);
  }
}

absl::StatusOr<UniqueFd> BindTcp(absl::string_view address,
                                 absl::string_view rest,
                                 const ListenOptions& options) {
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos) return Malformed(address, "no port");
  std::string host(rest.substr(0, colon));
  const std::string port(rest.substr(colon + 1));
  unsigned number = 0;
  if (port.find_first_not_of("0123456789") != std::string::npos ||
      !absl::SimpleAtoi(port, &number) || number > 65535) {
    return Malformed(address, "the port is no number from 0 to 65535");
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  if (!host.empty() && host.front() == '[') {
    if (host.back() != ']') return Malformed(address, "no closing bracket");
    host = host.substr(1, host.size() - 2);
    hints.ai_family = AF_INET6;
    hints.ai_flags |= AI_NUMERICHOST;
  } else if (host.find_first_of(":[]") != std::string::npos) {
    return Malformed(address, "an IPv6 address goes in brackets");
  }
  if (host.empty() || host.find('\0') != std::string::npos) {
    return Malformed(address, "no host");
  }

  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    if (error != EAI_SYSTEM && error != EAI_MEMORY &&
        (hints.ai_flags & AI_NUMERICHOST) != 0) {
      return Malformed(address, "no IPv6 address in the brackets");
    }
    return ResolveError(error, errno, address);
  }
  sockaddr_storage target = {};
  const socklen_t length = found->ai_addrlen;
  std::copy_n(reinterpret_cast<const char*>(found->ai_addr), length,
              reinterpret_cast<char*>(&target));
  ::freeaddrinfo(found);

  UniqueFd socket(::socket(target.ss_family, kStream, 0));
  if (!socket.valid()) return SocketError(errno, "socket for", address);
  const int on = 1;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) <
      0) {
    return SocketError(errno, "setsockopt(SO_REUSEADDR) for", address);
  }
  if (options.reuse_port && ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT,
                                         &on, sizeof(on)) < 0) {
    return SocketError(errno, "setsockopt(SO_REUSEPORT) for", address);
  }
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&target), length) <
      0) {
    return SocketError(errno, "bind", address);
  }
  // EADDRINUSE here: with SO_REUSEADDR two may bind, but only one listen.
  if (options.listen && ::listen(socket.get(), options.backlog) < 0) {
    return SocketError(errno, "listen at", address);
  }
  return socket;
}

// `option` of `from`, for `to`.
absl::Status CopyOption(int from, int to, int level, int option) {
  int value = 0;
  socklen_t size = sizeof(value);
  if (::getsockopt(from, level, option, &value, &size) < 0 ||
      ::setsockopt(to, level, option, &value, size) < 0) {
    return absl::ErrnoToStatus(errno, "an option of the listener");
  }
  return absl::OkStatus();
}

// Whether a socket is open at `path`, without connecting to it, which whoever
// listens there would see: for a type that cannot match, the kernel answers
// EPROTOTYPE where there is one and ECONNREFUSED where there is none.
bool InUse(const sockaddr_un& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return !probe.valid() ||
         ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof(address)) == 0 ||
         errno != ECONNREFUSED;
}

absl::StatusOr<UniqueFd> BindUnix(absl::string_view address,
                                  absl::string_view path, int backlog) {
  absl::StatusOr<sockaddr_un> target = UnixAddress(path);
  if (!target.ok()) return target.status();
  if (path.front() != '/') {
    return Malformed(address, "a socket path begins with a slash");
  }
  const std::string name(path);
  struct stat status;
  const bool exists = ::lstat(name.c_str(), &status) == 0;
  if (exists && !S_ISSOCK(status.st_mode)) {
    return absl::AlreadyExistsError(absl::StrCat(name, " is no socket"));
  }
  if (exists && InUse(*target)) {
    return absl::AlreadyExistsError(
        absl::StrCat(name, ": somebody listens there"));
  }
  UniqueFd socket(::socket(AF_UNIX, kStream, 0));
  if (!socket.valid()) return SocketError(errno, "socket for", address);
  // With the pid: there is no lock, and another process may bind there too.
  const absl::Status listening =
      ListenAndRename(socket.get(), name, absl::StrCat(".", ::getpid()),
                      backlog, /*replace=*/exists);
  if (!listening.ok()) return listening;
  return socket;
}

}  // namespace

absl::StatusOr<UniqueFd> BindListener(absl::string_view address,
                                      const ListenOptions& options) {
  absl::string_view rest = address;
  if (absl::ConsumePrefix(&rest, "tcp:")) {
    return BindTcp(address, rest, options);
  }
  if (absl::ConsumePrefix(&rest, "unix:")) {
    if (options.reuse_port) {
      return Malformed(address, "only a TCP address can be shared");
    }
    return BindUnix(address, rest, options.backlog);
  }
  return Malformed(address, "neither tcp: nor unix:");
}

absl::StatusOr<UniqueFd> BindBeside(int listener) {
  int protocol = 0;
  int shared = 0;
  socklen_t size = sizeof(int);
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  if (::getsockopt(listener, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0 ||
      ::getsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &shared, &size) < 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) <
          0) {
    return absl::ErrnoToStatus(errno, "the listener");
  }
  if (protocol != IPPROTO_TCP || shared == 0) {
    return absl::FailedPreconditionError(protocol != IPPROTO_TCP
                                             ? "it is no TCP socket"
                                             : "it has no SO_REUSEPORT");
  }
  UniqueFd socket(::socket(address.ss_family, kStream, 0));
  if (!socket.valid()) return absl::ErrnoToStatus(errno, "socket");
  for (const int option : {SO_REUSEADDR, SO_REUSEPORT, SO_BINDTOIFINDEX}) {
    if (absl::Status s = CopyOption(listener, socket.get(), SOL_SOCKET, option);
        !s.ok()) {
      return s;
    }
  }
  if (address.ss_family == AF_INET6) {
    if (absl::Status s =
            CopyOption(listener, socket.get(), IPPROTO_IPV6, IPV6_V6ONLY);
        !s.ok()) {
      return s;
    }
  }
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
             length) < 0) {
    return SocketError(errno, "bind", "beside the listener");
  }
  return socket;
}

}  // namespace handoff
