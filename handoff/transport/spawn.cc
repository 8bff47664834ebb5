#include "handoff/transport/spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "handoff/fd/scm_rights.h"

namespace handoff {
namespace {

// Where the child finds its end: the first after standard error.
constexpr int kChildDescriptor = 3;

// Signals that children begin with ignored. One call at a time makes them so.
std::mutex ignored_mu;
std::vector<int>& Ignored() {
  static auto* const signals = new std::vector<int>();
  return *signals;
}

// Ignores them in this process, which is the only way to posix_spawn a child
// that does. With the lock.
class IgnoringForAMoment {
 public:
  IgnoringForAMoment() {
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    for (const int signal : Ignored()) {
      struct sigaction before = {};
      if (::sigaction(signal, &ignore, &before) == 0) {
        before_.emplace_back(signal, before);
      }
    }
  }
  IgnoringForAMoment(const IgnoringForAMoment&) = delete;
  IgnoringForAMoment& operator=(const IgnoringForAMoment&) = delete;
  ~IgnoringForAMoment() {
    // Backwards: of a signal that is named twice, the first is what was.
    for (auto it = before_.rbegin(); it != before_.rend(); ++it) {
      ::sigaction(it->first, &it->second, nullptr);
    }
  }

 private:
  std::vector<std::pair<int, struct sigaction>> before_;
};

// Both in one, for one place that destroys them.
class SpawnSettings {
 public:
  SpawnSettings() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  // 0 or an errno. With the lock.
  int Set(int child_end, bool rehearsal) {
    if (rehearsal) {
      ::posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO,
                                         STDOUT_FILENO);
    }
    // Clears CLOEXEC, even where the two are the same (glibc 2.29).
    int error = ::posix_spawn_file_actions_adddup2(&actions_, child_end,
                                                   kChildDescriptor);
    if (error == 0) {
      error = ::posix_spawn_file_actions_addclosefrom_np(&actions_,
                                                         kChildDescriptor + 1);
    }
    sigset_t signals;
    sigfillset(&signals);
    for (const int signal : Ignored()) sigdelset(&signals, signal);
    if (error == 0) {
      error = ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    }
    sigemptyset(&signals);
    if (error == 0) {
      error = ::posix_spawnattr_setsigmask(&attributes_, &signals);
    }
    if (error == 0) {
      error = ::posix_spawnattr_setflags(
          &attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    }
    return error;
  }

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// Our environment with `variable` set to the child's descriptor.
std::vector<std::string> ChildEnvironment(const char* variable) {
  const std::string prefix = absl::StrCat(variable, "=");
  std::vector<std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (!absl::StartsWith(*entry, prefix)) environment.emplace_back(*entry);
  }
  environment.push_back(absl::StrCat(prefix, kChildDescriptor));
  return environment;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& string : strings) {
    pointers.push_back(const_cast<char*>(string.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

// Whether `fd` is a connected AF_UNIX SOCK_SEQPACKET socket.
bool IsChannelSocket(int fd) {
  int type = 0;
  socklen_t length = sizeof(type);
  sockaddr_storage peer = {};
  socklen_t peer_length = sizeof(peer);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
         type == SOCK_SEQPACKET &&
         ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_length) ==
             0 &&
         peer.ss_family == AF_UNIX;
}

// Executes it and opens its pidfd: 0 or an errno. Only the caller reaps the
// child, so that its pid cannot have been reused.
using Start = absl::FunctionRef<int(Child&)>;

int OpenPidfd(Child& child) {
  child.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, child.pid, 0)));
  if (child.pidfd) return 0;
  const int error = errno;
  ::kill(child.pid, SIGKILL);
  while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return error;
}

// Calls `start` in a process between us and the child, which ends at once. As
// vfork(2) makes it, so that it costs nothing in a large process; it shares our
// descriptors for the pidfd, and no signal of its end reaches the service.
int StartOrphan(Start start, Child& child) {
  struct Between {
    Start start;
    Child* child;
    int error;
  } between = {start, &child, ECANCELED};  // if it is ended before it can tell
  constexpr size_t kStack = 256 * 1024;
  const auto stack = std::make_unique<char[]>(kStack);
  // A handler of the service's must not run in there.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int pid = ::clone(
      [](void* argument) {
        auto& it = *static_cast<Between*>(argument);
        it.error = it.start(*it.child);
        return 0;
      },
      stack.get() + kStack, CLONE_VM | CLONE_VFORK | CLONE_FILES, &between);
  const int error = pid < 0 ? errno : between.error;
  while (pid > 0 && ::waitpid(pid, nullptr, __WCLONE) < 0 && errno == EINTR) {
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

absl::StatusOr<Child> Spawn(const std::string& executable,
                            const std::vector<std::string>& arguments,
                            bool rehearsal, bool orphan) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  Child child;
  child.socket.reset(pair[0]);
  const UniqueFd child_end(pair[1]);
  // Before the child can send: a message that was sent before carries no
  // credentials.
  absl::Status identity = EnableSenderIdentity(child.socket.get());
  if (!identity.ok()) return identity;

  std::unique_lock<std::mutex> lock(ignored_mu);
  SpawnSettings settings;
  if (const int error = settings.Set(child_end.get(), rehearsal); error != 0) {
    return absl::ErrnoToStatus(error, "posix_spawn's settings");
  }
  const std::vector<std::string> environment = ChildEnvironment(
      rehearsal ? kRehearsalVariable : kInheritedSocketVariable);
  const auto spawn = rehearsal ? ::posix_spawnp : ::posix_spawn;
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  const auto start = [&](Child& started) {
    const int error =
        spawn(&started.pid, executable.c_str(), settings.actions(),
              settings.attributes(), argv.data(), envp.data());
    return error != 0 ? error : OpenPidfd(started);
  };
  int error;
  {
    const IgnoringForAMoment ignoring;
    error = orphan ? StartOrphan(start, child) : start(child);
  }
  lock.unlock();
  if (error != 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("execute ", executable));
  }
  return child;
}

}  // namespace

absl::StatusOr<Child> SpawnSuccessor(const std::string& executable,
                                     const std::vector<std::string>& arguments,
                                     bool orphan) {
  return Spawn(executable, arguments, /*rehearsal=*/false, orphan);
}

absl::StatusOr<Child> SpawnRehearsal(const std::vector<std::string>& command) {
  if (command.empty()) return absl::InvalidArgumentError("no command");
  return Spawn(command.front(), command, /*rehearsal=*/true,
               /*orphan=*/false);
}

IgnoredInChildren::IgnoredInChildren(const std::vector<int>& signals) {
  std::lock_guard<std::mutex> lock(ignored_mu);
  Ignored() = signals;
}

IgnoredInChildren::~IgnoredInChildren() {
  std::lock_guard<std::mutex> lock(ignored_mu);
  Ignored().clear();
}

absl::StatusOr<std::string> ReapChild(int pidfd) {
  siginfo_t info = {};
  int result;
  do {
    result = ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return absl::ErrnoToStatus(errno, "waitid");
  if (info.si_code == CLD_EXITED) {
    return absl::StrCat("exited with code ", info.si_status);
  }
  const char* name = ::sigdescr_np(info.si_status);
  return absl::StrCat("was killed by signal ", info.si_status, " (",
                      name != nullptr ? name : "unknown", ")");
}

absl::StatusOr<absl::optional<UniqueFd>> TakeInheritedSocket(
    const char* variable) {
  const char* value = ::getenv(variable);
  if (value == nullptr) return absl::optional<UniqueFd>();
  const std::string text = value;
  // Whatever it says: our own children must not see it.
  ::unsetenv(variable);
  int fd = -1;
  if (!absl::SimpleAtoi(text, &fd) || fd <= STDERR_FILENO ||
      !IsChannelSocket(fd)) {
    // Not closed: it is somebody else's.
    return absl::InvalidArgumentError(
        absl::StrCat(variable, "=", text,
                     " names no connected AF_UNIX SOCK_SEQPACKET socket"));
  }
  UniqueFd socket(fd);
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    return absl::ErrnoToStatus(errno, "fcntl(F_SETFD)");
  }
  return absl::optional<UniqueFd>(std::move(socket));
}

}  // namespace handoff
