#include "handoff/integrations/reuseport/reuseport.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/integrations/reuseport/tcp_diag.h"
#include "handoff/transport/listen.h"

namespace handoff {
namespace {

// A SYN that another processor handles while the program is put in place goes
// by what was there before. What is seen in this time counts as older.
constexpr absl::Duration kSettles = absl::Milliseconds(50);
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(10);

// Where a listener is, and which it is.
struct Place {
  int family = AF_UNSPEC;
  std::string address;  // in network order
  uint16_t port = 0;
  uint64_t inode = 0;
};

absl::StatusOr<Place> PlaceOf(int listener) {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } address;
  socklen_t size = sizeof(address);
  int listens = 0;
  socklen_t length = sizeof(listens);
  struct stat status;
  if (::getsockname(listener, &address.any, &size) < 0 ||
      ::getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) <
          0 ||
      ::fstat(listener, &status) < 0) {
    return absl::ErrnoToStatus(errno, "the listener");
  }
  Place place;
  place.family = address.any.sa_family;
  place.inode = status.st_ino;
  if (place.family == AF_INET) {
    place.address.assign(reinterpret_cast<const char*>(&address.v4.sin_addr),
                         sizeof(in_addr));
    place.port = ntohs(address.v4.sin_port);
  } else if (place.family == AF_INET6) {
    place.address.assign(reinterpret_cast<const char*>(&address.v6.sin6_addr),
                         sizeof(in6_addr));
    place.port = ntohs(address.v6.sin6_port);
  }
  if (listens != 1 || place.port == 0) {
    return absl::InvalidArgumentError("this is no TCP listener");
  }
  return place;
}

// OK where there are this listener and one other.
absl::Status CheckTwo(const Place& place) {
  auto listeners = ListTcp(place.family, TcpState::kListen, place.port);
  if (!listeners.ok()) return listeners.status();
  int own = 0;
  int others = 0;
  for (const TcpEntry& listener : *listeners) {
    if (listener.local != place.address) continue;
    ++(listener.inode == place.inode ? own : others);
  }
  if (own == 1 && others == 1) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "port ", place.port, " has ", others,
      " other listeners at the same address, not one: start the new process "
      "first, and end whoever else listens there"));
}

// Each new connection goes to the second listener of the two.
absl::Status SteerToOther(int listener) {
  sock_filter second[] = {BPF_STMT(BPF_RET | BPF_K, 1)};
  const sock_fprog program = {1, second};
  if (::setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
                   sizeof(program)) < 0) {
    return absl::ErrnoToStatus(errno, "setsockopt(SO_ATTACH_REUSEPORT_CBPF)");
  }
  return absl::OkStatus();
}

// Who is in the middle of a handshake at this port, of both families: an IPv6
// listener has clients of both.
absl::StatusOr<std::set<std::string>> Handshakes(const Place& place) {
  std::set<std::string> remotes;
  for (const int family : {AF_INET, AF_INET6}) {
    if (family == AF_INET6 && place.family == AF_INET) continue;
    auto entries = ListTcp(family, TcpState::kHandshake, place.port);
    if (!entries.ok()) return entries.status();
    for (TcpEntry& entry : *entries) remotes.insert(std::move(entry.remote));
  }
  return remotes;
}

absl::Status AcceptAll(int listener,
                       absl::FunctionRef<void(UniqueFd)> accepted) {
  while (true) {
    UniqueFd client(
        ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client) {
      accepted(std::move(client));
    } else if (errno == EAGAIN) {
      return absl::OkStatus();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return absl::ErrnoToStatus(errno, "accept4");
    }
  }
}

}  // namespace

absl::StatusOr<UniqueFd> BindReuseport(absl::string_view address, int backlog) {
  return BindListener(address, {backlog, /*reuse_port=*/true});
}

absl::Status LeaveReuseport(int listener, absl::Time deadline,
                            absl::FunctionRef<void(UniqueFd)> accepted) {
  const absl::StatusOr<Place> place = PlaceOf(listener);
  if (!place.ok()) return place.status();
  absl::Status status = CheckTwo(*place);
  if (status.ok()) status = SteerToOther(listener);
  if (!status.ok()) return status;

  const absl::Time settled = absl::Now() + kSettles;
  std::set<std::string> older;
  while (true) {
    auto now = Handshakes(*place);
    if (!now.ok()) return now.status();
    if (absl::Now() < settled) {
      older.insert(now->begin(), now->end());
    } else {
      std::set<std::string> left;
      std::set_intersection(older.begin(), older.end(), now->begin(),
                            now->end(), std::inserter(left, left.end()));
      older.swap(left);
    }
    // Looked at before: what has come to its end is in the queue by now.
    status = AcceptAll(listener, accepted);
    if (!status.ok()) return status;
    const absl::Time time = absl::Now();
    if (time >= settled && older.empty()) return absl::OkStatus();
    if (time >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat(
          older.size(),
          " handshakes that had begun before have not come to their end"));
    }
    pollfd events = {listener, POLLIN, 0};
    (void)::poll(&events, 1,
                 static_cast<int>(absl::ToInt64Milliseconds(kBetweenLooks)));
  }
}

}  // namespace handoff
