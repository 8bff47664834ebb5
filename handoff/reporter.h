#ifndef HANDOFF_REPORTER_H_
#define HANDOFF_REPORTER_H_

#include <cstdint>
#include <mutex>

#include "absl/strings/string_view.h"
#include "handoff/event_log.h"
#include "handoff/observer.h"

namespace handoff {

// Records what happens, and tells the observer, where there is one: one event
// at a time, since the observer need not be thread-safe. Thread-safe.
class Reporter {
 public:
  // Borrowed; `observer` may be null.
  Reporter(Observer* observer, EventLog* log) : observer_(observer), log_(log) {}

  void operator()(Event::Kind kind, uint64_t handoff_id,
                  absl::string_view text) const {
    (*this)({kind, handoff_id, text});
  }
  void operator()(const Event& event) const {
    std::lock_guard<std::mutex> lock(mu_);
    log_->Add(event);
    if (observer_ != nullptr) observer_->OnEvent(event);
  }

 private:
  Observer* const observer_;
  EventLog* const log_;
  mutable std::mutex mu_;
};

}  // namespace handoff

#endif  // HANDOFF_REPORTER_H_
