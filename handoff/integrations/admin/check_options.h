#ifndef HANDOFF_INTEGRATIONS_ADMIN_CHECK_OPTIONS_H_
#define HANDOFF_INTEGRATIONS_ADMIN_CHECK_OPTIONS_H_

#include "absl/status/status.h"
#include "handoff/integrations/admin/admin_options.h"

// Whether what was configured can be meant. INVALID_ARGUMENT says what to do
// instead.

namespace handoff {

bool OnUnixSocket(const AdminOptions& options);

absl::Status CheckOptions(const AdminOptions& options);

// `listener` may be a predecessor's, which listens wherever that one was told
// to. It is refused where callers would then not be known by what was
// configured, or where plaintext that was meant for this machine would be open
// to others. Also codes of absl::ErrnoToStatus.
absl::Status CheckListener(int listener, const AdminOptions& options);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_CHECK_OPTIONS_H_
