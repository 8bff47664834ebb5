#ifndef HANDOFF_TOOLS_LOAD_WHOAMI_H_
#define HANDOFF_TOOLS_LOAD_WHOAMI_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

// Who answers: what GET /whoami says, and the processes that may say it.

namespace handoff::load {

struct WhoamiAnswer {
  pid_t pid = 0;
  // Of the connection. Compared only, so kept as it was written.
  std::string id;
  uint64_t requests = 0;
  uint64_t handoffs = 0;
};

// INVALID_ARGUMENT where it is not a flat JSON object with these members.
absl::StatusOr<WhoamiAnswer> ParseWhoami(absl::string_view json);

// The processes that have served, oldest first, and the one that is about to.
// Not thread-safe.
class Generations {
 public:
  // A process is being started; `pid` is 0 where somebody else starts it.
  void Expect(pid_t pid);
  // It says that it serves. FAILED_PRECONDITION where another was expected or
  // has answered requests in its place.
  absl::Status Confirm(pid_t pid);
  // It came to nothing: it must not answer from here on.
  void Withdraw();

  // Of those confirmed, counted from 0. At least one is.
  size_t current() const { return confirmed_.size() - 1; }
  pid_t current_pid() const { return confirmed_.back(); }
  // Which of them `pid` is: current() + 1 where it is the expected one, which
  // may well answer before its word that it does has been read. NOT_FOUND for
  // a process that should not answer anybody.
  absl::StatusOr<size_t> Index(pid_t pid);

 private:
  std::vector<pid_t> confirmed_;
  absl::optional<pid_t> expected_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_WHOAMI_H_
