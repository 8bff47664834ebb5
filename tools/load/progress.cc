#include "tools/load/progress.h"

#include <unistd.h>

#include <cstdio>

namespace handoff::load {
namespace {

constexpr absl::Duration kTerminalInterval = absl::Milliseconds(200);
constexpr absl::Duration kPlainInterval = absl::Seconds(2);

// Back to the start of the line, and erase it (ECMA-48, EL).
constexpr char kClear[] = "\r\x1b[K";

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::Show(absl::Time now, absl::string_view line) {
  next_ = now + (terminal_ ? kTerminalInterval : kPlainInterval);
  shown_ = terminal_;
  fprintf(stderr, "%s%.*s%s", terminal_ ? kClear : "",
          static_cast<int>(line.size()), line.data(), terminal_ ? "" : "\n");
}

void Progress::Say(absl::string_view line) {
  fprintf(stderr, "%s%.*s\n", shown_ ? kClear : "",
          static_cast<int>(line.size()), line.data());
  shown_ = false;
}

}  // namespace handoff::load
