#ifndef HANDOFF_FD_PEER_IDENTITY_H_
#define HANDOFF_FD_PEER_IDENTITY_H_

#include <sys/types.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/unique_fd.h"

// Who is at the other end of a connection.
//
// Taken from a message that the peer sent, never from SO_PEERCRED or
// SO_PEERPIDFD of the connection: those name whoever last called listen(2) or
// socketpair(2), so after one handoff a third generation would see the first,
// dead, in place of the second (unix(7), "SO_PEERCRED").

namespace handoff {

struct PeerIdentity {
  SenderCredentials credentials;
  // Becomes readable when the process ends. Always valid.
  UniqueFd pidfd;
};

// Who may be at the other end.
struct TrustPolicy {
  // Besides our own effective uid and root.
  std::vector<uid_t> more_uids;
};

// The identity of the sender of `message`. Takes SCM_PIDFD where the message
// has it; otherwise `own_pidfd`, which the peer sent of itself and which must
// name the pid of the kernel's credentials (/proc/self/fdinfo, "Pid:"; Linux
// before 6.5). Consumes the message's pidfd.
//
// UNAUTHENTICATED  no credentials in the message; the pidfd names another
//                  process; or pid 0 (another pid namespace) without SCM_PIDFD
absl::StatusOr<PeerIdentity> IdentifySender(ReceivedMessage& message,
                                            const UniqueFd& own_pidfd);

// PERMISSION_DENIED, saying whom it expected, where `peer` is not our own
// effective user, root, or one of policy.more_uids. The overflow uid
// (/proc/sys/kernel/overflowuid) stands for every user that our namespace does
// not know, and matches nobody.
absl::Status CheckTrusted(const SenderCredentials& peer,
                          const TrustPolicy& policy);

// Whether `peer` has the group of this process and all of its supplementary
// ones. No, where that cannot be found out: it has ended, or /proc hides it.
bool HasOurGroups(const PeerIdentity& peer);

// The uid that stands for every user that our namespace does not know.
uid_t OverflowUid();

// A pidfd of the calling process, CLOEXEC.
absl::StatusOr<UniqueFd> OwnPidfd();

// Whether the process of `pidfd` has ended. Never blocks.
bool ProcessEnded(int pidfd);

// SIGKILL through the pidfd; OK if it has ended already.
absl::Status KillProcess(int pidfd);

}  // namespace handoff

#endif  // HANDOFF_FD_PEER_IDENTITY_H_
