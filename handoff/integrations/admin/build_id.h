#ifndef HANDOFF_INTEGRATIONS_ADMIN_BUILD_ID_H_
#define HANDOFF_INTEGRATIONS_ADMIN_BUILD_ID_H_

#include <string>

namespace handoff {

// The GNU build id of the running program (ld(1), --build-id), as hexadecimal
// digits; empty where it was linked without one. Read from memory: the file may
// have been replaced since.
std::string BuildId();

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_BUILD_ID_H_
