#ifndef HANDOFF_TOOLS_LOAD_LOSS_H_
#define HANDOFF_TOOLS_LOAD_LOSS_H_

// Whether a connection may have been lost with a process that was killed.

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/handoff.pb.h"
#include "tools/load/soak_clients.h"

namespace handoff::load {

struct ServingStatus {
  pid_t pid = 0;
  std::string state;
};
// Reads what `handoff status --format=json` prints. INVALID_ARGUMENT where it
// is something else.
absl::StatusOr<ServingStatus> ParseStatus(absl::string_view json);

// One side of a handoff was killed, before, in or after it.
struct Killing {
  pid_t predecessor = 0;
  pid_t successor = 0;
  bool of_successor = false;
  absl::Time at;
};

// What processes that were killed may have taken with them, as the ledger says:
// the sessions that it names, what they had accepted themselves, and everything
// where they died before anything had travelled. A client may learn late of the
// end of its connection: behind what the kernel still had to send. Not
// thread-safe.
class Accounts {
 public:
  // `json`: what `handoff ledger --format=json` prints. INVALID_ARGUMENT where
  // it is something else.
  absl::Status Add(absl::string_view json, const Killing& killing);

  bool Excuse(const SoakClients::Loss& loss) const;

 private:
  void AddHandoff(const v1::LedgerHandoff& handoff, const Killing& killing);

  std::set<uint64_t> lost_;
  // Generations whose processes were killed after the commit.
  std::set<uint64_t> killed_;
  // Of a connection that was open then nobody but a process that was killed
  // knew, where it has had no answer yet.
  absl::Time unknown_until_ = absl::InfinitePast();
  // Of a predecessor that was killed: connections that it had accepted by then
  // and not sent are in no ledger.
  absl::Time unsent_until_ = absl::InfinitePast();
  std::set<uint64_t> sent_;
  // Everything older than this was lost.
  absl::Time nothing_before_ = absl::InfinitePast();
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_LOSS_H_
