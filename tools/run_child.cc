#include "tools/run_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace handoff {
namespace {

// SD_LISTEN_FDS_START of sd-daemon.h.
constexpr int kFirst = 3;

void SetEnvironment(const std::vector<NamedListener>& listeners) {
  for (const char* variable :
       {"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
    ::unsetenv(variable);  // what we have inherited is not theirs
  }
  if (listeners.empty()) return;
  ::setenv("LISTEN_PID", absl::StrCat(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", absl::StrCat(listeners.size()).c_str(), 1);
  const std::string names = absl::StrJoin(
      listeners, ":", [](std::string* out, const NamedListener& listener) {
        out->append(listener.name);
      });
  ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
}

// Returns what went wrong.
int Execute(const std::vector<std::string>& command,
            const std::vector<NamedListener>& listeners, const sigset_t& mask,
            UniqueFd& report) {
  ::setpgid(0, 0);
  const int end = kFirst + static_cast<int>(listeners.size());
  // Out of the way of those numbers first.
  report.reset(::fcntl(report.get(), F_DUPFD_CLOEXEC, end));
  std::vector<int> moved;
  for (const NamedListener& listener : listeners) {
    moved.push_back(::fcntl(listener.fd.get(), F_DUPFD_CLOEXEC, end));
    if (moved.back() < 0) return errno;
  }
  for (size_t i = 0; i < moved.size(); ++i) {
    if (::dup2(moved[i], kFirst + static_cast<int>(i)) < 0) return errno;
  }
  ::close_range(static_cast<unsigned>(end), ~0U, CLOSE_RANGE_CLOEXEC);
  SetEnvironment(listeners);
  std::vector<char*> words;
  for (const std::string& word : command) {
    words.push_back(const_cast<char*>(word.c_str()));
  }
  words.push_back(nullptr);
  ::signal(SIGPIPE, SIG_DFL);  // which this command ignores
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  ::execvp(words.front(), words.data());
  return errno;
}

}  // namespace

absl::StatusOr<pid_t> StartChild(const std::vector<std::string>& command,
                                 const std::vector<NamedListener>& listeners,
                                 const sigset_t& mask) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) {
    const int error = Execute(command, listeners, mask, writer);
    [[maybe_unused]] const ssize_t told =
        ::write(writer.get(), &error, sizeof(error));
    ::_exit(127);
  }
  writer.reset();
  int error = 0;
  ssize_t size;
  do {
    size = ::read(reader.get(), &error, sizeof(error));
  } while (size < 0 && errno == EINTR);
  if (size != static_cast<ssize_t>(sizeof(error))) return pid;  // it runs
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return absl::ErrnoToStatus(error, absl::StrCat("execute ", command.front()));
}

}  // namespace handoff
