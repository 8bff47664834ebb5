#ifndef HANDOFF_STORED_STATE_H_
#define HANDOFF_STORED_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/options.h"
#include "handoff/protocol/staged_inventory.h"
#include "handoff/store_log.h"
#include "proto/store.pb.h"

namespace handoff {

// What a store gave back to this process, whose predecessor died without a
// successor: as if that had sent it, and died then.
struct StoredState {
  // Processes that may begin to adopt the same state; the next one resets it.
  static constexpr uint32_t kMaxAttempts = 2;

  struct Lost {
    std::string type;  // empty: not known
    std::string reason;
  };

  explicit StoredState(const Limits& limits) : inventory(limits) {}

  // The handoff listener, listeners and descriptors, blobs, and the sessions
  // that nobody has touched since they were stored. All of them are there.
  StagedInventory inventory;
  std::map<std::string, uint32_t> versions;
  // Sessions that are not adopted, by id. They were reset.
  std::map<uint64_t, Lost> lost;
  StoreLogHead head;
  int64_t pid = 0;  // of who died
  // What of the store is known to be there.
  v1::StoreContents holds;
  // Worth a line each.
  std::vector<std::string> notes;
  // Where nothing is to be adopted: there was no log, or none that can be read.
  // Listeners are left in Options::given then.
  bool adopts = false;
};

// Takes what is the store's out of `options.given`, and resets what cannot be
// adopted. `listener` is the handoff listener: it is taken where this adopts.
// Counts the attempt in the log.
std::unique_ptr<StoredState> TakeStored(const Options& options,
                                        UniqueFd& listener);

// Ends the connection of a session that nobody serves any more, for its client
// to hear of it, whoever else has a duplicate (connect(2), AF_UNSPEC: RST).
void ResetConnection(int fd);

}  // namespace handoff

#endif  // HANDOFF_STORED_STATE_H_
