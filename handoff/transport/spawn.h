#ifndef HANDOFF_TRANSPORT_SPAWN_H_
#define HANDOFF_TRANSPORT_SPAWN_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "handoff/fd/unique_fd.h"

// How a process starts its own successor: a child that inherits one end of a
// socketpair, and nothing else but standard input, output and error.

namespace handoff {

// Names the inherited descriptor in the child's environment.
inline constexpr char kInheritedSocketVariable[] = "HANDOFF_SOCKET_FD";

// The same, where what is wanted of the child is a rehearsal's report.
inline constexpr char kRehearsalVariable[] = "HANDOFF_REHEARSAL_FD";

struct Child {
  pid_t pid = 0;
  UniqueFd pidfd;
  // Our end of the pair, SOCK_SEQPACKET. Has asked for the sender's identity
  // before the child could send anything.
  UniqueFd socket;
};

// Executes `executable` (a path, never /proc/self/exe: after the binary was
// replaced that names the deleted file) with `arguments` (argv[0] included) and
// our environment. Signal dispositions and the mask are reset to the default,
// but see IgnoredInChildren. The caller reaps the child (ReapChild).
//
// Where `orphan`, it is no child of ours, but of whoever adopts orphans: the
// service manager, which then knows when and how it ends, as we do not.
//
// NOT_FOUND, PERMISSION_DENIED  the file cannot be executed
// other codes                   by absl::ErrnoToStatus
absl::StatusOr<Child> SpawnSuccessor(const std::string& executable,
                                     const std::vector<std::string>& arguments,
                                     bool orphan = false);

// As SpawnSuccessor(), but the child gets its end as kRehearsalVariable, and
// our standard error as its standard output too. `command` is the program,
// looked for in PATH where it has no slash, and its arguments.
absl::StatusOr<Child> SpawnRehearsal(const std::vector<std::string>& command);

// While it lives, these signals are ignored in what SpawnSuccessor() and
// SpawnRehearsal() execute, so that none ends the child before it has installed
// its own handler. The child inherits that through exec, and only what is
// ignored here is: so they are, for the moment of the call, and one that
// arrives then is lost. At most one at a time.
class IgnoredInChildren {
 public:
  explicit IgnoredInChildren(const std::vector<int>& signals);
  // Waits for a call that is under way.
  ~IgnoredInChildren();
  IgnoredInChildren(const IgnoredInChildren&) = delete;
  IgnoredInChildren& operator=(const IgnoredInChildren&) = delete;
};

// Waits for the child to end, by waitid(P_PIDFD), until it is reaped; call it
// when the pidfd is readable or after a kill. Says how it ended, for people:
// "exited with code 3", "was killed by signal 9 (Killed)". Not for an orphan.
absl::StatusOr<std::string> ReapChild(int pidfd);

// In the child: the inherited socket, once. Empty where `variable` is not set.
// The variable is checked (it names a connected AF_UNIX SOCK_SEQPACKET socket:
// INVALID_ARGUMENT otherwise), unset, and the socket made CLOEXEC.
// Changes the environment: call before threads are started.
absl::StatusOr<absl::optional<UniqueFd>> TakeInheritedSocket(
    const char* variable = kInheritedSocketVariable);

}  // namespace handoff

#endif  // HANDOFF_TRANSPORT_SPAWN_H_
