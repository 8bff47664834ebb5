#include "handoff/fd/peer_identity.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace handoff {
namespace {

// DEFAULT_OVERFLOWUID, include/linux/highuid.h.
constexpr uid_t kDefaultOverflowUid = 65534;

// The first bytes of a file of /proc; empty where it cannot be read.
std::string ReadStart(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return "";
  char buffer[1024];
  ssize_t length;
  do {
    length = ::read(file.get(), buffer, sizeof(buffer));
  } while (length < 0 && errno == EINTR);
  return length > 0 ? std::string(buffer, static_cast<size_t>(length)) : "";
}

bool IsPidfd(int fd) {
  char target[32];
  const std::string link = absl::StrCat("/proc/self/fd/", fd);
  const ssize_t length = ::readlink(link.c_str(), target, sizeof(target));
  return length > 0 && absl::string_view(target, static_cast<size_t>(length)) ==
                           "anon_inode:[pidfd]";
}

// The pid that `pidfd` names, in our pid namespace; -1 where the process has
// been reaped, 0 where it lives in a namespace that we cannot see.
absl::StatusOr<pid_t> PidOf(int pidfd) {
  if (!IsPidfd(pidfd)) {
    return absl::UnauthenticatedError(
        "what the peer sent in place of a pidfd is none");
  }
  const std::string text = ReadStart(absl::StrCat("/proc/self/fdinfo/", pidfd));
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    pid_t pid = 0;
    if (absl::ConsumePrefix(&line, "Pid:") && absl::SimpleAtoi(line, &pid)) {
      return pid;
    }
  }
  return absl::UnauthenticatedError(
      "/proc/self/fdinfo does not say which process a pidfd names");
}

}  // namespace

bool HasOurGroups(const PeerIdentity& peer) {
  const pid_t pid = peer.credentials.pid;
  if (pid <= 0 || peer.credentials.gid != ::getegid()) return false;
  const int count = ::getgroups(0, nullptr);
  if (count < 0) return false;
  std::vector<gid_t> ours(static_cast<size_t>(count));
  if (::getgroups(count, ours.data()) != count) return false;
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  std::set<gid_t> theirs = {peer.credentials.gid};
  bool found = false;
  for (std::string line; !found && std::getline(file, line);) {
    absl::string_view groups = line;
    found = absl::ConsumePrefix(&groups, "Groups:");
    if (!found) continue;
    for (absl::string_view text :
         absl::StrSplit(groups, absl::ByAnyChar(" \t"), absl::SkipEmpty())) {
      gid_t group = 0;
      if (absl::SimpleAtoi(text, &group)) theirs.insert(group);
    }
  }
  // After the reading: so the pid was still its own.
  return found && !ProcessEnded(peer.pidfd.get()) &&
         std::all_of(ours.begin(), ours.end(),
                     [&](gid_t group) { return theirs.count(group) != 0; });
}

uid_t OverflowUid() {
  static const uid_t uid = [] {
    uid_t value = kDefaultOverflowUid;
    const std::string text = ReadStart("/proc/sys/kernel/overflowuid");
    return absl::SimpleAtoi(text, &value) ? value : kDefaultOverflowUid;
  }();
  return uid;
}

absl::StatusOr<PeerIdentity> IdentifySender(ReceivedMessage& message,
                                            const UniqueFd& own_pidfd) {
  if (!message.credentials.has_value()) {
    return absl::UnauthenticatedError("a message without credentials");
  }
  PeerIdentity identity;
  identity.credentials = *message.credentials;
  if (message.pidfd.valid()) {
    identity.pidfd = std::move(message.pidfd);
    return identity;
  }

  if (identity.credentials.pid == 0) {
    return absl::UnauthenticatedError(
        "the peer is in a pid namespace that this process cannot see");
  }
  if (!own_pidfd.valid()) {
    return absl::UnauthenticatedError(
        "this kernel gives no pidfd of a sender (SCM_PIDFD, Linux 6.5), and "
        "the peer sent none of itself");
  }
  absl::StatusOr<pid_t> pid = PidOf(own_pidfd.get());
  if (!pid.ok()) return pid.status();
  if (*pid != identity.credentials.pid) {
    return absl::UnauthenticatedError(
        absl::StrCat("the message is from process ", identity.credentials.pid,
                     ", its pidfd names process ", *pid));
  }
  identity.pidfd.reset(::fcntl(own_pidfd.get(), F_DUPFD_CLOEXEC, 0));
  if (!identity.pidfd.valid()) {
    return absl::ErrnoToStatus(errno, "fcntl(F_DUPFD_CLOEXEC) of a pidfd");
  }
  return identity;
}

absl::Status CheckTrusted(const SenderCredentials& peer,
                          const TrustPolicy& policy) {
  const uid_t own = ::geteuid();
  if (peer.uid != OverflowUid()) {
    if (peer.uid == own || peer.uid == 0) return absl::OkStatus();
    for (const uid_t uid : policy.more_uids) {
      if (peer.uid == uid) return absl::OkStatus();
    }
  }
  std::string expected = absl::StrCat(own);
  if (own != 0) absl::StrAppend(&expected, ", 0");
  for (const uid_t uid : policy.more_uids) {
    absl::StrAppend(&expected, ", ", uid);
  }
  return absl::PermissionDeniedError(absl::StrCat(
      "the peer, process ", peer.pid, ", is of user ", peer.uid,
      peer.uid == OverflowUid() ? " (unknown in this user namespace)" : "",
      "; expected one of: ", expected));
}

absl::StatusOr<UniqueFd> OwnPidfd() {
  // By number: glibc 2.36 has the wrapper, older ones do not. Sets CLOEXEC.
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!pidfd.valid()) return absl::ErrnoToStatus(errno, "pidfd_open");
  return pidfd;
}

bool ProcessEnded(int pidfd) {
  pollfd events = {pidfd, POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&events, 1, 0);
  } while (ready < 0 && errno == EINTR);
  return ready > 0 && (events.revents & (POLLIN | POLLHUP)) != 0;
}

absl::Status KillProcess(int pidfd) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0) < 0 &&
      errno != ESRCH) {
    return absl::ErrnoToStatus(errno, "pidfd_send_signal");
  }
  return absl::OkStatus();
}

}  // namespace handoff
