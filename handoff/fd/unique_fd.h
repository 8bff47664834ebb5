#ifndef HANDOFF_FD_UNIQUE_FD_H_
#define HANDOFF_FD_UNIQUE_FD_H_

#include <unistd.h>

#include <memory>
#include <utility>

namespace handoff {

// Owns one file descriptor and closes it. In this project a UniqueFd owns and
// a bare int borrows.
//
// close(2) is not repeated on EINTR: Linux has closed the descriptor by then
// (close(2), "Dealing with error returns from close()").
//
// Not thread-safe.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }

  // Gives the descriptor up without closing it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  void reset(int fd = -1) {
    const int old = std::exchange(fd_, fd);
    if (old >= 0) ::close(old);
  }

 private:
  int fd_ = -1;
};

// A descriptor that a session and a frame on its way out both need: it is
// closed when the last of them lets go.
using SharedFd = std::shared_ptr<UniqueFd>;

}  // namespace handoff

#endif  // HANDOFF_FD_UNIQUE_FD_H_
