#ifndef HANDOFF_SERVER_PROCESS_SETUP_H_
#define HANDOFF_SERVER_PROCESS_SETUP_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace handoff::server {

// The path by which this program was called, absolute: what is there later is
// the next release. A symbolic link stays one. `argv0` without a slash is
// looked for in PATH, as the shell did. NOT_FOUND, or by absl::ErrnoToStatus.
absl::StatusOr<std::string> ResolveExecutable(absl::string_view argv0);

// Raises the soft limit of open descriptors to the hard one; returns it.
absl::StatusOr<size_t> RaiseDescriptorLimit();

// How many connections fit `descriptors`, at most `wanted`. Each may need two
// (a large body is a file), and the rest of the process some.
size_t ConnectionsFor(size_t descriptors, size_t wanted);

// Where a listening socket listens: "127.0.0.1:80", "[::1]:80", "unix:/path".
// Of a Unix socket the kernel knows only the name that it was bound to before
// it was renamed to its path; `asked`, as in --http, is taken for that.
absl::StatusOr<std::string> ListenerAddress(int listener,
                                            absl::string_view asked);

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_PROCESS_SETUP_H_
