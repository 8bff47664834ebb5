#ifndef HANDOFF_MEMORY_USE_H_
#define HANDOFF_MEMORY_USE_H_

#include <cstdint>
#include <string>

namespace handoff {

struct MemoryUse {
  uint64_t resident = 0;  // bytes
  // The least of the limits of its control groups (v2); where there is none,
  // its RLIMIT_AS; 0: no limit.
  uint64_t limit = 0;
};

// Of this process. Thread-safe.
MemoryUse ReadMemoryUse();

// The least memory.max of a control group and those above it; 0: no limit.
// `membership`: a file like /proc/self/cgroup; `root`: like /sys/fs/cgroup.
uint64_t ControlGroupMemoryLimit(const std::string& membership,
                                 const std::string& root);

}  // namespace handoff

#endif  // HANDOFF_MEMORY_USE_H_
