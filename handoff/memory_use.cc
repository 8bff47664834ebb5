#include "handoff/memory_use.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/strip.h"

namespace handoff {

uint64_t ControlGroupMemoryLimit(const std::string& membership,
                                 const std::string& root) {
  std::ifstream groups(membership);
  std::string line;
  uint64_t least = 0;
  while (std::getline(groups, line)) {
    absl::string_view path = line;
    // "0::/a/b": of version 2. Others have a number above 0.
    if (!absl::ConsumePrefix(&path, "0::/")) continue;
    std::string group(path);
    while (true) {
      std::ifstream file(root + "/" + group + "/memory.max");
      uint64_t bytes = 0;  // stays so where it says "max", or is not there
      if (file >> bytes && (least == 0 || bytes < least)) least = bytes;
      if (group.empty()) break;
      const size_t slash = group.rfind('/');
      group.resize(slash == std::string::npos ? 0 : slash);
    }
  }
  return least;
}

MemoryUse ReadMemoryUse() {
  MemoryUse use;
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  if (statm >> size >> resident) {
    use.resident = resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  use.limit = ControlGroupMemoryLimit("/proc/self/cgroup", "/sys/fs/cgroup");
  rlimit limit;
  if (use.limit == 0 && ::getrlimit(RLIMIT_AS, &limit) == 0 &&
      limit.rlim_cur != RLIM_INFINITY) {
    use.limit = limit.rlim_cur;
  }
  return use;
}

}  // namespace handoff
