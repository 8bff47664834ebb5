#ifndef HANDOFF_SERVER_LOG_H_
#define HANDOFF_SERVER_LOG_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "handoff/observer.h"

namespace handoff::server {

enum class LogFormat {
  kText,  // TIME PID LEVEL EVENT: TEXT
  kJson,  // an object with "time", "pid", "level", "event" and "text"
};
// "text" or "json"; INVALID_ARGUMENT.
absl::StatusOr<LogFormat> ParseLogFormat(absl::string_view name);

// Opens the log, which is standard error. Before anything is logged, so before
// threads are made; what is logged without it goes nowhere.
void OpenLog(LogFormat format);

enum class Level { kInfo, kWarning };

// Logs one line with the time, in UTC, and our pid: `event` is a word that one
// can search for, `text` for people; neither has anything of a client's in it,
// nor state. One write(2): lines of predecessor and successor do not mix.
// Thread-safe.
void Log(absl::string_view event, absl::string_view text,
         Level level = Level::kInfo);

// Logs what happens to handoffs: as "event" its kind, and "handoff" its id.
class LogObserver : public Observer {
 public:
  void OnEvent(const Event& event) override;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_LOG_H_
