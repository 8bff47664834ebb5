#include "server/log.h"

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace handoff::server {

void Log(absl::string_view line) {
  const std::string text =
      absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(),
                                    absl::UTCTimeZone()),
                   " ", getpid(), " ", line, "\n");
  // Nobody can be told that the log is gone.
  [[maybe_unused]] const ssize_t n =
      write(STDERR_FILENO, text.data(), text.size());
}

void LogObserver::OnEvent(const Event& event) {
  const std::string kind(EventKindName(event.kind));
  if (event.handoff_id == 0) {
    Log(absl::StrCat(kind, ": ", event.text));
  } else {
    Log(absl::StrCat(kind, " handoff=", absl::Hex(event.handoff_id), ": ",
                     event.text));
  }
}

}  // namespace handoff::server
