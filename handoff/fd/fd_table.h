#ifndef HANDOFF_FD_FD_TABLE_H_
#define HANDOFF_FD_FD_TABLE_H_

#include <map>
#include <string>

// For tests: what this process has open.

namespace handoff {

// Each open descriptor with what /proc/self/fd says that it is.
std::map<int, std::string> OpenDescriptors();

// How many of the descriptors 0 to `end` - 1 are open; one system call, where
// it is asked too often for the names. `end` is within RLIMIT_NOFILE.
int OpenDescriptorsBelow(int end);

// Fails the test, naming the descriptors, where those that are open at its end
// differ from those that were open at its start. Declare it before everything
// that owns a descriptor. Not for use while other threads open any.
class NoDescriptorLeak {
 public:
  NoDescriptorLeak() : before_(OpenDescriptors()) {}
  NoDescriptorLeak(const NoDescriptorLeak&) = delete;
  NoDescriptorLeak& operator=(const NoDescriptorLeak&) = delete;
  ~NoDescriptorLeak();

 private:
  const std::map<int, std::string> before_;
};

}  // namespace handoff

#endif  // HANDOFF_FD_FD_TABLE_H_
