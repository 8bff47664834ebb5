#ifndef HANDOFF_TRANSPORT_UNIX_PATH_H_
#define HANDOFF_TRANSPORT_UNIX_PATH_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Sockets that have a path. Thread-safe.

namespace handoff {

// sun_path has 108 bytes, one for the final NUL (unix(7)).
inline constexpr size_t kMaxUnixPathBytes = 107;

// The address of `path`. INVALID_ARGUMENT where it is empty, longer than
// kMaxUnixPathBytes, has a NUL, or is abstract (begins with '@' or NUL), which
// anyone in the network namespace could take: it has no permissions.
absl::StatusOr<sockaddr_un> UnixAddress(absl::string_view path);

// The folder that `path` is in: "." where it names none.
std::string FolderOf(absl::string_view path);

// Binds `socket` beside `path`, under the same name and `suffix`, makes it
// listen, and renames it over `path`: whoever sees the path can connect. What
// `path` named before is replaced where `replace`, else that is ALREADY_EXISTS.
// Nothing is left behind on failure. Other codes by absl::ErrnoToStatus.
//
// The kernel goes on to give the temporary name as the socket's address.
absl::Status ListenAndRename(int socket, const std::string& path,
                             absl::string_view suffix, int backlog,
                             bool replace);

// Whether `socket` was bound at `path`, directly or by ListenAndRename() with a
// suffix that is a dot and a number, in this process or in another. The kernel
// knows the name that it was bound under, and of no renaming.
bool IsBoundAt(int socket, absl::string_view path);

}  // namespace handoff

#endif  // HANDOFF_TRANSPORT_UNIX_PATH_H_
