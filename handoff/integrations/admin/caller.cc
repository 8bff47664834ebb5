#include "handoff/integrations/admin/caller.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "absl/status/status.h"
#include "handoff/fd/peer_identity.h"

namespace handoff {
namespace {

// NGROUPS_MAX, linux/limits.h.
constexpr socklen_t kMostGroups = 65536;

template <typename T>
bool Share(const std::vector<T>& some, const std::vector<T>& others) {
  return std::find_first_of(some.begin(), some.end(), others.begin(),
                            others.end()) != some.end();
}

bool Has(const UnixPeer& peer, const AdminParty& party) {
  return Share(party.uids, {peer.uid}) || Share(party.gids, peer.gids);
}

}  // namespace

absl::StatusOr<UnixPeer> PeerOfAccepted(int socket) {
  ucred credentials = {};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) <
      0) {
    return absl::ErrnoToStatus(errno, "getsockopt(SO_PEERCRED)");
  }
  UnixPeer peer;
  peer.pid = credentials.pid;
  peer.uid = credentials.uid;
  std::vector<gid_t> groups(16);
  length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  // Says with ERANGE how many there are.
  while (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(),
                      &length) < 0) {
    if (errno != ERANGE || length > kMostGroups * sizeof(gid_t)) {
      return absl::ErrnoToStatus(errno, "getsockopt(SO_PEERGROUPS)");
    }
    groups.resize(length / sizeof(gid_t));
  }
  groups.resize(length / sizeof(gid_t));
  peer.gids.push_back(credentials.gid);
  peer.gids.insert(peer.gids.end(), groups.begin(), groups.end());
  return peer;
}

AdminRole RoleOf(const UnixPeer& peer, uid_t own_uid,
                 const AdminParty& operators, const AdminParty& readers) {
  if (peer.uid == OverflowUid()) return AdminRole::kNone;
  if (peer.uid == own_uid || peer.uid == 0 || Has(peer, operators)) {
    return AdminRole::kOperator;
  }
  return Has(peer, readers) ? AdminRole::kReader : AdminRole::kNone;
}

AdminRole RoleOf(const std::vector<std::string>& names,
                 const AdminParty& operators, const AdminParty& readers) {
  if (Share(operators.certificates, names)) return AdminRole::kOperator;
  return Share(readers.certificates, names) ? AdminRole::kReader
                                            : AdminRole::kNone;
}

}  // namespace handoff
