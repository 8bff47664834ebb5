#ifndef HANDOFF_TOOLS_LOAD_DESCRIPTOR_H_
#define HANDOFF_TOOLS_LOAD_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace handoff::load {

// Owns one file descriptor. The load has its own, as it shares no code with
// what it puts to the test. Not thread-safe.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    other.Reset();
    return *this;
  }
  ~Descriptor() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Reset() {
    const int fd = std::exchange(fd_, -1);
    if (fd >= 0) close(fd);
  }

 private:
  int fd_ = -1;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_DESCRIPTOR_H_
