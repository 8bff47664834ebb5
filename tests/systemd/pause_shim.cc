// Loaded into the server by LD_PRELOAD, for tests of the moments that are too
// short to hit: stops the process, as SIGSTOP does, right after it has logged an
// event, and hangs its event loops. It is told so by files, so that the
// environment of predecessor and successor stays the same.

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <string>

namespace {

constexpr char kPauseAt[] = "/handoff-test/control/pause";  // "not PID EVENT"
constexpr char kHang[] = "/handoff-test/control/hang";      // "PID"

std::string Read(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char buffer[128];
  const ssize_t n = ::read(fd, buffer, sizeof(buffer));
  ::close(fd);
  return std::string(buffer, n > 0 ? static_cast<size_t>(n) : 0);
}

template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" size_t fwrite(const void* data, size_t size, size_t count,
                         FILE* file) {
  static auto* const real =
      Real<size_t(const void*, size_t, size_t, FILE*)>("fwrite");
  const size_t written = real(data, size, count, file);
  if (file == stderr) {
    const std::string line(static_cast<const char*>(data), size * count);
    int pid = 0;
    char event[64];
    if (::sscanf(Read(kPauseAt).c_str(), "not %d %63s", &pid, event) == 2 &&
        pid != ::getpid() &&
        line.find(std::string(" ") + event + " ") != std::string::npos) {
      ::fflush(file);
      ::raise(SIGSTOP);
    }
  }
  return written;
}

extern "C" int epoll_wait(int epoll, epoll_event* events, int most,
                          int timeout) {
  static auto* const real =
      Real<int(int, epoll_event*, int, int)>("epoll_wait");
  while (Read(kHang) == std::to_string(::getpid())) ::pause();
  return real(epoll, events, most, timeout);
}
