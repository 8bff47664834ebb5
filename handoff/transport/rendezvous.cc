#include "handoff/transport/rendezvous.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/transport/unix_path.h"

namespace handoff {
namespace {

// Successors and tools that wait for the predecessor's thread to accept.
constexpr int kBacklog = 128;

// flock(2) has no deadline: it is tried again at this interval.
constexpr absl::Duration kLockInterval = absl::Milliseconds(5);

constexpr char kTemporarySuffix[] = ".new";

bool OursOrRoots(uid_t owner) { return owner == ::geteuid() || owner == 0; }

absl::Status OtherUser(absl::string_view path, uid_t owner) {
  return absl::PermissionDeniedError(
      absl::StrCat(path, " belongs to user ", owner));
}

// Who can write the folder can put another socket at the path.
absl::Status CheckFolder(const std::string& folder, bool any_owner) {
  struct stat status;
  if (::stat(folder.c_str(), &status) < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return absl::InvalidArgumentError(
          absl::StrCat("the folder ", folder, " does not exist"));
    }
    return absl::ErrnoToStatus(errno, absl::StrCat("stat ", folder));
  }
  if (!S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(folder, " is no folder"));
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("others than its owner may write the folder ", folder,
                     "; use one of mode 0700"));
  }
  if (!any_owner && !OursOrRoots(status.st_uid)) {
    return OtherUser(folder, status.st_uid);
  }
  return absl::OkStatus();
}

// OK where there is a socket of ours at `path`. NOT_FOUND where there is
// nothing.
absl::Status CheckSocketFile(const std::string& path, bool any_owner) {
  struct stat status;
  if (::lstat(path.c_str(), &status) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("lstat ", path));
  }
  // Connecting to a file of another kind gives ECONNREFUSED, as for a stale
  // socket: it would be replaced.
  if (!S_ISSOCK(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no socket"));
  }
  if (!any_owner && !OursOrRoots(status.st_uid)) {
    return OtherUser(path, status.st_uid);
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> MakeSocket() {
  UniqueFd socket(
      ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return absl::ErrnoToStatus(errno, "socket");
  return socket;
}

// NOT_FOUND where nobody listens.
absl::StatusOr<UniqueFd> Connect(const sockaddr_un& address) {
  absl::StatusOr<UniqueFd> socket = MakeSocket();
  if (!socket.ok()) return socket;
  int result;
  do {
    result =
        ::connect(socket->get(), reinterpret_cast<const sockaddr*>(&address),
                  sizeof(address));
  } while (result < 0 && errno == EINTR);
  if (result == 0) return socket;
  const int error = errno;
  const std::string what = absl::StrCat("connect ", address.sun_path);
  if (error == ENOENT || error == ECONNREFUSED) {
    return absl::NotFoundError(absl::StrCat(what, ": nobody listens"));
  }
  if (error == EAGAIN) {
    return absl::UnavailableError(absl::StrCat(
        what, ": somebody listens, but does not accept: its queue is full"));
  }
  return absl::ErrnoToStatus(error, what);
}

// Holds flock(2) of a file, which stays.
class Lock {
 public:
  static absl::StatusOr<Lock> Acquire(const std::string& path,
                                      absl::Time deadline);
  Lock(Lock&&) = default;
  // Not by closing alone: a child that another thread has just forked holds a
  // duplicate until it executes.
  ~Lock() {
    if (file_.valid()) ::flock(file_.get(), LOCK_UN);
  }

 private:
  explicit Lock(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

absl::StatusOr<Lock> Lock::Acquire(const std::string& path,
                                   absl::Time deadline) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                       S_IRUSR | S_IWUSR));
  if (!file.valid()) {
    return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  }
  struct stat status;
  if (::fstat(file.get(), &status) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("fstat ", path));
  }
  if (!OursOrRoots(status.st_uid)) return OtherUser(path, status.st_uid);
  while (::flock(file.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) {
      return absl::ErrnoToStatus(errno, absl::StrCat("flock ", path));
    }
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat("another process holds ", path));
    }
    absl::SleepFor(std::min(left, kLockInterval));
  }
  return Lock(std::move(file));
}

}  // namespace

absl::StatusOr<Rendezvous> Meet(absl::string_view path, absl::Time deadline) {
  absl::StatusOr<sockaddr_un> address = UnixAddress(path);
  if (!address.ok()) return address.status();
  const std::string name(path);
  absl::Status status = CheckFolder(FolderOf(name), /*any_owner=*/false);
  if (!status.ok()) return status;
  absl::StatusOr<Lock> lock = Lock::Acquire(name + ".lock", deadline);
  if (!lock.ok()) return lock.status();

  Rendezvous rendezvous;
  status = CheckSocketFile(name, /*any_owner=*/false);
  if (status.ok()) {
    absl::StatusOr<UniqueFd> connected = Connect(*address);
    if (connected.ok()) {
      rendezvous.predecessor = *std::move(connected);
      return rendezvous;
    }
    status = connected.status();
  }
  if (!absl::IsNotFound(status)) return status;

  absl::StatusOr<UniqueFd> listener = MakeSocket();
  if (!listener.ok()) return listener.status();
  // Before bind: Linux takes the mode of the file from the socket's, so there
  // is no instant at which others could connect.
  if (::fchmod(listener->get(), S_IRUSR | S_IWUSR) < 0) {
    return absl::ErrnoToStatus(errno, "fchmod of a socket");
  }
  status = ListenAndRename(listener->get(), name, kTemporarySuffix, kBacklog,
                           /*replace=*/true);
  if (!status.ok()) return status;
  rendezvous.listener = *std::move(listener);
  return rendezvous;
}

absl::StatusOr<UniqueFd> ConnectTo(absl::string_view path) {
  absl::StatusOr<sockaddr_un> address = UnixAddress(path);
  if (!address.ok()) return address.status();
  const std::string name(path);
  // Root's tools look into the services of every user.
  const bool any_owner = ::geteuid() == 0;
  absl::Status status = CheckFolder(FolderOf(name), any_owner);
  if (!status.ok()) return status;
  status = CheckSocketFile(name, any_owner);
  if (!status.ok()) return status;
  return Connect(*address);
}

}  // namespace handoff
