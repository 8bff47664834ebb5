#ifndef HANDOFF_REPORTER_H_
#define HANDOFF_REPORTER_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "handoff/observer.h"

namespace handoff {

// Tells the observer, where there is one. Not thread-safe, as the observer need
// not be.
class Reporter {
 public:
  explicit Reporter(Observer* observer) : observer_(observer) {}

  void operator()(Event::Kind kind, uint64_t handoff_id,
                  absl::string_view text) const {
    if (observer_ != nullptr) observer_->OnEvent({kind, handoff_id, text});
  }

 private:
  Observer* const observer_;
};

}  // namespace handoff

#endif  // HANDOFF_REPORTER_H_
