#ifndef HANDOFF_FD_MEMFD_H_
#define HANDOFF_FD_MEMFD_H_

#include <cstddef>
#include <string>

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

// The content of a sealed memfd. Does not move its file offset.
// INVALID_ARGUMENT    `fd` is no memfd, or lacks one of the four seals, so its
//                     content could change while it is read
// RESOURCE_EXHAUSTED  it is larger than `max_bytes`
absl::StatusOr<std::string> ReadSealedMemfd(int fd, size_t max_bytes);

}  // namespace handoff

#endif  // HANDOFF_FD_MEMFD_H_
