#ifndef HANDOFF_FD_MEMFD_H_
#define HANDOFF_FD_MEMFD_H_

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "handoff/fd/unique_fd.h"

// Bytes too large for a frame travel in a memfd that can no longer change. All
// functions are thread-safe and borrow `fd`.

namespace handoff {

// An empty memfd without seals, CLOEXEC. `name` (cut after 249 bytes) shows in
// /proc/PID/fd; it is not an identity.
absl::StatusOr<UniqueFd> MakeMemfd(absl::string_view name);

// OK where `fd` is a memfd with at least `seals` (F_SEAL_*, fcntl(2));
// INVALID_ARGUMENT otherwise.
absl::Status CheckSeals(int fd, int seals);

// A memfd with `bytes`, sealed against every change (F_SEAL_WRITE, SHRINK,
// GROW, SEAL).
absl::StatusOr<UniqueFd> MakeSealedMemfd(absl::string_view name,
                                         absl::string_view bytes);

// Seals `fd`, which is a memfd, in the same way. Codes by absl::ErrnoToStatus.
absl::Status SealMemfd(int fd);

// The content of a sealed memfd. Does not move its file offset.
// INVALID_ARGUMENT    `fd` is no memfd, or lacks one of the four seals, so its
//                     content could change while it is read
// RESOURCE_EXHAUSTED  it is larger than `max_bytes`
absl::StatusOr<std::string> ReadSealedMemfd(int fd, size_t max_bytes);

// The content of a sealed memfd, in memory without a copy. Owns the mapping,
// which outlives the descriptor. No access can fault: it cannot shrink, nor can
// anybody punch a hole into it (F_SEAL_WRITE, fcntl(2)).
class SealedMapping {
 public:
  // Codes of ReadSealedMemfd().
  static absl::StatusOr<SealedMapping> Map(int fd, size_t max_bytes);
  SealedMapping(SealedMapping&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})) {}
  SealedMapping& operator=(SealedMapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SealedMapping();

  absl::string_view bytes() const { return bytes_; }

 private:
  explicit SealedMapping(absl::string_view bytes) : bytes_(bytes) {}
  absl::string_view bytes_;
};

}  // namespace handoff

#endif  // HANDOFF_FD_MEMFD_H_
