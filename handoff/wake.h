#ifndef HANDOFF_WAKE_H_
#define HANDOFF_WAKE_H_

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

// Ends another thread's poll(2). Copies wake the same thread, and outlive each
// other. Thread-safe.
class Wake {
 public:
  static absl::StatusOr<Wake> Create() {
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) return absl::ErrnoToStatus(errno, "eventfd");
    return Wake(std::make_shared<UniqueFd>(std::move(fd)));
  }

  void operator()() const {
    const uint64_t one = 1;
    // EAGAIN: it is awake as it is.
    [[maybe_unused]] const ssize_t n = ::write(fd_->get(), &one, sizeof(one));
  }
  void Clear() const {
    uint64_t count;
    [[maybe_unused]] const ssize_t n =
        ::read(fd_->get(), &count, sizeof(count));
  }
  int fd() const { return fd_->get(); }

 private:
  explicit Wake(SharedFd fd) : fd_(std::move(fd)) {}
  SharedFd fd_;
};

}  // namespace handoff

#endif  // HANDOFF_WAKE_H_
