#ifndef HANDOFF_INTEGRATIONS_ADMIN_ADMIN_OPTIONS_H_
#define HANDOFF_INTEGRATIONS_ADMIN_ADMIN_OPTIONS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace handoff {

// Who has a role. On a Unix socket users and groups count, over TLS the name in
// the client's certificate; nothing that a call says of itself does.
struct AdminParty {
  std::vector<uid_t> uids;
  std::vector<gid_t> gids;
  // Of the certificate: one of its subject alternative names, or its common
  // name where it has none of those.
  std::vector<std::string> certificates;

  bool empty() const {
    return uids.empty() && gids.empty() && certificates.empty();
  }
};

// Paths of PEM files.
struct AdminTls {
  std::string certificate;
  std::string key;
  // Whose certificates clients must have.
  std::string client_authority;

  bool empty() const {
    return certificate.empty() && key.empty() && client_authority.empty();
  }
};

struct AdminOptions {
  // "unix:/path", in a folder that only whoever is trusted can write, or
  // "tcp:HOST:PORT". A predecessor's listener is used wherever it listens, but
  // for one of the other kind, or plaintext beyond a loopback that is named here.
  std::string address;
  // On a Unix socket this process's user and root are operators in any case,
  // and without anybody else the socket has mode 0600, else 0666: the kernel's
  // credentials of each connection decide, and the folder's mode still counts.
  AdminParty operators;
  AdminParty readers;
  // All three for TCP, and none for a Unix socket.
  AdminTls tls;
  // As Options::executable and Options::arguments. What StartHandoff executes
  // where it names nothing; empty: then it has to.
  std::string executable;
  std::vector<std::string> arguments;
  // What else StartHandoff may execute, by its path.
  std::vector<std::string> executables;
  // Operators may ask for the state of sessions, which may hold secrets.
  bool allow_state = false;
  // TCP without TLS: whoever reaches the port is an operator.
  bool insecure_plaintext_tcp = false;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_ADMIN_OPTIONS_H_
