#ifndef HANDOFF_INTEGRATIONS_ADMIN_REFUSALS_H_
#define HANDOFF_INTEGRATIONS_ADMIN_REFUSALS_H_

#include <cstdint>
#include <mutex>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/control.h"

namespace handoff {

// Audit events for whoever was refused, by connection or by call. Whoever may
// not do something can try as often as it likes, and the log is bounded: one
// event a second at the most, which counts the others. Thread-safe.
class Refusals {
 public:
  explicit Refusals(Control& control) : control_(control) {}

  void Note(absl::string_view who, absl::string_view what);

 private:
  Control& control_;
  std::mutex mu_;
  absl::Time told_at_ = absl::InfinitePast();
  uint64_t untold_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_REFUSALS_H_
