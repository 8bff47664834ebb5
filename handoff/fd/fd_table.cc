#include "handoff/fd/fd_table.h"

#include <dirent.h>
#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "gtest/gtest.h"

namespace handoff {

std::map<int, std::string> OpenDescriptors() {
  std::map<int, std::string> open;
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) {
    ADD_FAILURE() << "/proc/self/fd cannot be read";
    return open;
  }
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    const int fd = std::atoi(entry->d_name);
    if (fd == ::dirfd(folder)) continue;
    char target[256];
    const ssize_t length =
        ::readlinkat(::dirfd(folder), entry->d_name, target, sizeof(target));
    open[fd] = length > 0 ? std::string(target, static_cast<size_t>(length))
                          : "unreadable";
  }
  ::closedir(folder);
  return open;
}

int OpenDescriptorsBelow(int end) {
  std::vector<pollfd> polled;
  for (int fd = 0; fd < end; ++fd) polled.push_back({fd, 0, 0});
  ::poll(polled.data(), polled.size(), 0);
  int open = 0;
  for (const pollfd& p : polled) open += (p.revents & POLLNVAL) == 0;
  return open;
}

NoDescriptorLeak::~NoDescriptorLeak() {
  EXPECT_EQ(OpenDescriptors(), before_)
      << "the open descriptors, then those before the test";
}

}  // namespace handoff
