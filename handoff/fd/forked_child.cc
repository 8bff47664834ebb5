#include "handoff/fd/forked_child.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

namespace handoff {
namespace {

constexpr int kWaitMilliseconds = 60'000;

int Reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

ForkedChild::ForkedChild(const std::function<int()>& body) {
  // Else the child would write the parent's buffers a second time.
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    const int code = body();
    std::fflush(nullptr);
    // Not exit(3): the objects of the test belong to the parent.
    ::_exit(code);
  }
  if (pid_ > 0) {
    pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
}

ForkedChild::~ForkedChild() {
  if (reaped_ || pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  Reap(pid_);
}

int ForkedChild::Wait() {
  pollfd ended = {pidfd_.get(), POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&ended, 1, kWaitMilliseconds);
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0 || pid_ <= 0) return -1;
  reaped_ = true;
  return Reap(pid_);
}

bool BecomeUser(uid_t uid) {
  return ::setgroups(0, nullptr) == 0 && ::setresgid(uid, uid, uid) == 0 &&
         ::setresuid(uid, uid, uid) == 0;
}

bool BecomeUserOfItsOwn() {
  return BecomeUser(1'000'000 + static_cast<uid_t>(::getpid()));
}

bool LimitDescriptors(int more) {
  const int next = ::fcntl(STDERR_FILENO, F_DUPFD, 0);
  if (next < 0) return false;
  ::close(next);
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return false;
  limit.rlim_cur = static_cast<rlim_t>(next) + static_cast<rlim_t>(more);
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

}  // namespace handoff
