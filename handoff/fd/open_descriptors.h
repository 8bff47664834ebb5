#ifndef HANDOFF_FD_OPEN_DESCRIPTORS_H_
#define HANDOFF_FD_OPEN_DESCRIPTORS_H_

#include <cstdint>

namespace handoff {

struct OpenDescriptors {
  uint64_t count = 0;  // open now, by /proc/self/fd
  uint64_t limit = 0;  // the soft RLIMIT_NOFILE
};

// How many descriptors this process has and may have. Thread-safe.
OpenDescriptors CountOpenDescriptors();

}  // namespace handoff

#endif  // HANDOFF_FD_OPEN_DESCRIPTORS_H_
