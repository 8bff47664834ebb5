#ifndef HANDOFF_SERVER_LOG_H_
#define HANDOFF_SERVER_LOG_H_

#include "absl/strings/string_view.h"
#include "handoff/observer.h"

namespace handoff::server {

// Writes one line to standard error, with the time and our pid before it, in
// one write(2): lines of predecessor and successor do not mix. Thread-safe.
void Log(absl::string_view line);

// Logs what happens to handoffs.
class LogObserver : public Observer {
 public:
  void OnEvent(const Event& event) override;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_LOG_H_
