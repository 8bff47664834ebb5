#ifndef HANDOFF_INTEGRATIONS_ADMIN_START_HANDOFF_H_
#define HANDOFF_INTEGRATIONS_ADMIN_START_HANDOFF_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "handoff/control.h"
#include "handoff/integrations/admin/caller.h"
#include "proto/admin.pb.h"

namespace handoff {

// What StartHandoff may execute.
struct Executables {
  // Where a request names none; empty: it has to. Always allowed.
  std::string own;
  // argv of whatever is executed to rehearse, argv[0] included.
  std::vector<std::string> arguments;
  std::vector<std::string> allowed;
};

// Where the messages go.
struct HandoffListener {
  // False: nobody listens any more.
  std::function<bool(const admin::v1::StartHandoffResponse&)> write;
  // OK, or why to give up. A result that is there by then is told anyway.
  std::function<absl::Status()> leave;
};

// CANCELLED and UNAVAILABLE, of `leave`.
absl::Status CallerHasLeft();
absl::Status EndpointDrains();

// Admin::StartHandoff, for an operator, to the last message: begins the
// handoff, and follows it without touching it. Blocks. While the groups are
// frozen it asks the process nothing. The audit event is written when it has
// begun, so that a successor has it too.
absl::Status StartHandoff(Control& control, const Caller& caller,
                          const Executables& executables,
                          const admin::v1::StartHandoffRequest& request,
                          absl::Time deadline, const HandoffListener& listener);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_START_HANDOFF_H_
