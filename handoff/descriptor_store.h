#ifndef HANDOFF_DESCRIPTOR_STORE_H_
#define HANDOFF_DESCRIPTOR_STORE_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace handoff {

// What storing may cost: Options::store_limits.
struct StoreLimits {
  // Descriptors that the store takes (FileDescriptorStoreMax= of systemd). What
  // is more is not stored.
  size_t descriptors = 1024;
  // How long it takes at most until what changes is stored, as far as the loops
  // run what is posted to them.
  absl::Duration interval = absl::Milliseconds(100);
  // Who dies sooner than this after it has adopted what was stored may have
  // died of it: the third one after two such does not restore it.
  absl::Duration proof = absl::Seconds(10);
};

// Somebody who keeps descriptors for us while we live, and gives them to the
// process that is started when we have died: Options::store. Under systemd that
// is its fd store (integrations/systemd).
//
// Called on the library's thread, so it must not wait. What was kept comes back
// in Options::given of the next process, under the names that it was kept
// under, in any order.
class DescriptorStore {
 public:
  virtual ~DescriptorStore() = default;

  // The same in processes that have the same store, and in no others: a
  // successor may have one of its own.
  virtual std::string Name() const = 0;

  // Keeps a duplicate of each of `fds` under `name`: ASCII without control
  // characters and ':', at most 255 bytes. One name may have several. What is
  // kept already is not kept again. `connection`: may be forgotten as soon as
  // nobody is at the other end any more; else it must not.
  //
  // UNAVAILABLE  not now; we ask again
  virtual absl::Status Keep(absl::string_view name, absl::Span<const int> fds,
                            bool connection) = 0;

  // Closes what is kept under `name`. OK where there is nothing. UNAVAILABLE as
  // above.
  virtual absl::Status Forget(absl::string_view name) = 0;
};

}  // namespace handoff

#endif  // HANDOFF_DESCRIPTOR_STORE_H_
