#ifndef HANDOFF_PROCESS_STORE_H_
#define HANDOFF_PROCESS_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/stored_state.h"
#include "handoff/storing.h"
#include "proto/store.pb.h"

namespace handoff {

class Process;

// What a process keeps in its descriptor store, and what it gets back out of
// it: a part of Process. Where Options::store is null it does nothing.
class ProcessStore {
 public:
  explicit ProcessStore(Process* process) : process_(*process) {}

  // Up to Ready(), on the service's thread.

  // Where the store gave back what a dead predecessor had, `listener` becomes
  // the first descriptor that was inherited; false where not.
  bool Inherit(UniqueFd& listener);
  // Null where it gave nothing back.
  StoredState* stored() { return stored_.get(); }
  // Everything that is to be restored is: this process serves.
  void Adopt();

  // The library's thread.

  // Before RecordTaking(), which lets go of what the predecessor has sent.
  void Open();
  void Step(absl::Time now);
  // A handoff begins, and the groups are its.
  void Suspend();
  absl::optional<v1::StoreContents> Contents() const;
  absl::Time NextWake() const;
  // The process ends, and nobody has taken over.
  void End();

 private:
  void Record();

  Process& process_;
  std::unique_ptr<StoredState> stored_;
  std::unique_ptr<Storing> storing_;
};

}  // namespace handoff

#endif  // HANDOFF_PROCESS_STORE_H_
