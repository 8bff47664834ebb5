#include "server/process_setup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace handoff::server {
namespace {

// Listeners, epoll, timers, the handoff's own sockets and memfds, a log.
constexpr size_t kOtherDescriptors = 128;

absl::StatusOr<std::string> Absolute(const std::string& path) {
  if (absl::StartsWith(path, "/")) return path;
  char* folder = get_current_dir_name();
  if (folder == nullptr) return absl::ErrnoToStatus(errno, "getcwd");
  std::string absolute = absl::StrCat(folder, "/", path);
  free(folder);
  return absolute;
}

}  // namespace

absl::StatusOr<std::string> ResolveExecutable(absl::string_view argv0) {
  if (absl::StrContains(argv0, '/')) return Absolute(absl::StrCat(argv0));
  const char* path = getenv("PATH");
  for (absl::string_view folder :
       absl::StrSplit(path == nullptr ? "/usr/bin:/bin" : path, ':')) {
    const std::string candidate =
        absl::StrCat(folder.empty() ? "." : folder, "/", argv0);
    if (access(candidate.c_str(), X_OK) == 0) return Absolute(candidate);
  }
  return absl::NotFoundError(absl::StrCat("no ", argv0, " in PATH"));
}

absl::StatusOr<size_t> RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return absl::ErrnoToStatus(errno, "getrlimit");
  }
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0 &&
      getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return absl::ErrnoToStatus(errno, "setrlimit");
  }
  return static_cast<size_t>(limit.rlim_cur);
}

size_t ConnectionsFor(size_t descriptors, size_t wanted) {
  const size_t room = descriptors - std::min(descriptors, kOtherDescriptors);
  return std::max<size_t>(1, std::min(wanted, room / 2));
}

absl::StatusOr<std::string> ListenerAddress(int listener,
                                            absl::string_view asked) {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un local;
  } address = {};
  socklen_t size = sizeof(address);
  if (getsockname(listener, &address.any, &size) != 0) {
    return absl::ErrnoToStatus(errno, "getsockname");
  }
  char text[INET6_ADDRSTRLEN] = "";
  switch (address.any.sa_family) {
    case AF_INET:
      inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof(text));
      return absl::StrCat(text, ":", ntohs(address.v4.sin_port));
    case AF_INET6:
      inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof(text));
      return absl::StrCat("[", text, "]:", ntohs(address.v6.sin6_port));
    case AF_UNIX:
      if (absl::StartsWith(asked, "unix:")) return absl::StrCat(asked);
      // The kernel need not end it with a zero byte.
      return absl::StrCat(
          "unix:", absl::string_view(address.local.sun_path,
                                     strnlen(address.local.sun_path,
                                             sizeof(address.local.sun_path))));
    default:
      return absl::InvalidArgumentError(
          "the listener is no TCP or Unix socket");
  }
}

}  // namespace handoff::server
