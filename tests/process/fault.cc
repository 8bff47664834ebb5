#include "tests/process/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace handoff::toy {
namespace {

void Print(const std::string& line) {
  [[maybe_unused]] ssize_t n = ::write(STDOUT_FILENO, line.data(), line.size());
}

void Limit(__rlimit_resource resource, rlim_t value) {
  rlimit limit = {};
  ::getrlimit(resource, &limit);
  limit.rlim_cur = value;
  ::setrlimit(resource, &limit);
}

// The lowest number that is free: with it as the limit none can be opened.
rlim_t LowestFreeDescriptor() {
  int fd = 0;
  while (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) ++fd;
  return static_cast<rlim_t>(fd);
}

rlim_t MappedBytes() {
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  statm >> pages;
  return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

// Only what is a connection with a peer: by now the number could be a client's.
void ShutDown(int channel) {
  int type = 0;
  socklen_t size = sizeof(type);
  if (::getsockopt(channel, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
      type == SOCK_SEQPACKET) {
    ::shutdown(channel, SHUT_RDWR);
  }
}

}  // namespace

Fault::Fault(absl::string_view fault, bool record) : record_(record) {
  if (fault.empty()) return;
  const std::pair<std::string, std::string> pair = absl::StrSplit(fault, ':');
  step_ = pair.first;
  fault_ = pair.second;
}

void Fault::Reached(absl::string_view step, int channel) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (channel >= 0) last_channel_ = channel;
    channel = last_channel_;
    if (!reached_.emplace(step).second) return;
    if (record_) Print(absl::StrCat("step ", step, "\n"));
  }
  if (step != step_) return;
  const std::string line = absl::StrCat("fault ", step, "\n");
  const bool limits =
      fault_ == "descriptors" || fault_ == "memory" || fault_ == "files";
  if (!limits) Print(line);
  Strike(channel);
  if (limits) Print(line);
}

void Fault::Strike(int channel) {
  if (fault_ == "kill") {
    ::raise(SIGKILL);
  } else if (fault_ == "stop") {
    // Of this thread: it does not get beyond this line.
    ::raise(SIGSTOP);
  } else if (fault_ == "close") {
    ShutDown(channel);
  } else if (fault_ == "delay") {
    ::usleep(50'000);
  } else if (fault_ == "descriptors") {
    Limit(RLIMIT_NOFILE, LowestFreeDescriptor());
  } else if (fault_ == "memory") {
    Limit(RLIMIT_AS, MappedBytes());
  } else if (fault_ == "files") {
    ::signal(SIGXFSZ, SIG_IGN);  // EFBIG then
    Limit(RLIMIT_FSIZE, 0);
  } else {
    ::abort();
  }
}

}  // namespace handoff::toy
