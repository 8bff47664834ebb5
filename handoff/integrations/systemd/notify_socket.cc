#include "handoff/integrations/systemd/notify_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "handoff/clock.h"
#include "handoff/fd/scm_rights.h"

namespace handoff {
namespace {

// As sd_notify asks for: descriptors on their way are charged to the sender.
constexpr int kSendBuffer = 8 * 1024 * 1024;

bool IsName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

absl::StatusOr<std::string> Encode(
    const std::vector<NotifySocket::Assignment>& message) {
  std::string bytes;
  for (const auto& [name, value] : message) {
    if (!IsName(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", name, "\" is no name of a notification"));
    }
    if (value.find('\n') != std::string::npos ||
        value.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("the value of ", name, " is more than one line"));
    }
    absl::StrAppend(&bytes, bytes.empty() ? "" : "\n", name, "=", value);
  }
  if (bytes.empty()) return absl::InvalidArgumentError("nothing to notify of");
  if (bytes.size() > NotifySocket::kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a notification of ", bytes.size(), " bytes: at most ",
                     NotifySocket::kMaxBytes, " are read"));
  }
  return bytes;
}

// Whether something of `events` came in time.
bool Await(int fd, short events, absl::Time deadline) {
  while (true) {
    const int64_t wait = absl::ToInt64Milliseconds(
        absl::Ceil(deadline - MonotonicNow(), absl::Milliseconds(1)));
    pollfd polled = {fd, events, 0};
    const int ready = ::poll(
        &polled, 1, static_cast<int>(std::clamp<int64_t>(wait, 0, INT_MAX)));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<NotifySocket>> NotifySocket::FromEnvironment() {
  const char* const address = ::getenv("NOTIFY_SOCKET");
  if (address == nullptr || *address == '\0') return nullptr;
  return Open(address);
}

absl::StatusOr<std::unique_ptr<NotifySocket>> NotifySocket::Open(
    absl::string_view address) {
  if (absl::StartsWith(address, "vsock")) {
    return absl::UnimplementedError(absl::StrCat(
        "NOTIFY_SOCKET=", address,
        ": a virtual machine's host is notified by its manager, not by us"));
  }
  const bool abstract = absl::StartsWith(address, "@");
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  // A path has a NUL at its end, an abstract name one in place of its '@'.
  if (address.size() < 2 || (!abstract && address[0] != '/') ||
      address.size() + (abstract ? 0 : 1) > sizeof(name.sun_path) ||
      address.find('\0') != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "NOTIFY_SOCKET=", address, " is neither a path nor an abstract name"));
  }
  std::memcpy(name.sun_path, address.data(), address.size());
  if (abstract) name.sun_path[0] = '\0';
  const socklen_t size = static_cast<socklen_t>(
      offsetof(sockaddr_un, sun_path) + address.size() + (abstract ? 0 : 1));

  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return absl::ErrnoToStatus(errno, "socket");
  // The second goes beyond net.core.wmem_max, where we may.
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer,
               sizeof(kSendBuffer));
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer,
               sizeof(kSendBuffer));
  return std::unique_ptr<NotifySocket>(
      new NotifySocket(std::move(socket), name, size));
}

absl::Status NotifySocket::Send(const std::vector<Assignment>& message,
                                absl::Duration patience,
                                absl::Span<const int> fds) const {
  const absl::StatusOr<std::string> bytes = Encode(message);
  if (!bytes.ok()) return bytes.status();
  const absl::Time deadline = MonotonicNow() + patience;
  while (true) {
    // Each time: the manager may have bound its socket anew. And poll(2) waits
    // for room in the other's queue only where it knows the other.
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address_),
                  size_) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          "nobody listens at NOTIFY_SOCKET: connect: ", std::strerror(errno)));
    }
    absl::Status sent = SendMessage(socket_.get(), *bytes, fds);
    if (!absl::IsUnavailable(sent)) return sent;
    if (MonotonicNow() >= deadline ||
        !Await(socket_.get(), POLLOUT, deadline)) {
      return absl::DeadlineExceededError(
          absl::StrCat("the service manager does not read: ", sent.message()));
    }
  }
}

absl::Status NotifySocket::Barrier(absl::Duration patience) const {
  const absl::Time deadline = MonotonicNow() + patience;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe2");
  const UniqueFd ours(ends[0]);
  {
    const UniqueFd theirs(ends[1]);
    const absl::Status sent =
        Send({{"BARRIER", "1"}}, patience, {theirs.get()});
    if (!sent.ok()) return sent;
  }
  // Whether it knows the word or not: it closes what it was sent when it has
  // read so far. Without events to ask for, poll(2) reports the hang-up.
  if (Await(ours.get(), 0, deadline)) return absl::OkStatus();
  return absl::DeadlineExceededError(
      "the service manager has not worked through what it was told");
}

}  // namespace handoff
