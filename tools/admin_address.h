#ifndef HANDOFF_TOOLS_ADMIN_ADDRESS_H_
#define HANDOFF_TOOLS_ADMIN_ADDRESS_H_

#include <string>

namespace handoff {

// Where an admin endpoint is, and how to speak with it.
struct AdminAddress {
  // "unix:PATH" or "tcp:HOST:PORT"; empty: none.
  std::string address;
  // Of TCP: files in PEM; whom to trust, and who we are.
  std::string ca;
  std::string certificate;
  std::string key;
  // TCP without any of that.
  bool insecure_tcp = false;
};

}  // namespace handoff

#endif  // HANDOFF_TOOLS_ADMIN_ADDRESS_H_
