#ifndef HANDOFF_INTEGRATIONS_ADMIN_CALLER_H_
#define HANDOFF_INTEGRATIONS_ADMIN_CALLER_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "handoff/integrations/admin/admin_options.h"

// Who calls, and what they may do.

namespace handoff {

enum class AdminRole { kNone, kReader, kOperator };

struct Caller {
  AdminRole role = AdminRole::kNone;
  // For the audit: "uid 1000", "certificate ops.example".
  std::string name;
};

// Who connected a Unix stream socket, as the kernel noted then.
struct UnixPeer {
  pid_t pid = 0;
  uid_t uid = 0;
  std::vector<gid_t> gids;  // the effective one first, then supplementary ones
};

// Of a socket that accept(2) has returned: there SO_PEERCRED names the process
// that called connect(2), which no other process can have influenced. (Of a
// socket that connects it names whoever called listen(2): peer_identity.h.)
// By absl::ErrnoToStatus.
absl::StatusOr<UnixPeer> PeerOfAccepted(int socket);

// `own_uid` and root are operators, whoever else is. The overflow uid stands
// for every user that our namespace does not know: it has no role at all.
AdminRole RoleOf(const UnixPeer& peer, uid_t own_uid,
                 const AdminParty& operators, const AdminParty& readers);

AdminRole RoleOf(const std::vector<std::string>& names,
                 const AdminParty& operators, const AdminParty& readers);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_CALLER_H_
