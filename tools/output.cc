#include "tools/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "handoff/plain_text.h"
#include "handoff/query_format.h"

namespace handoff {

ExitCode Fail(ExitCode code, absl::string_view text) {
  const std::string line = absl::StrCat("handoff: ", OnOneLine(text), "\n");
  ::fputs(line.c_str(), stderr);
  return code;
}

size_t TerminalWidth() {
  winsize size = {};
  if (::isatty(STDERR_FILENO) == 0) return 0;
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return 80;
  }
  return size.ws_col;
}

ExitCode Print(absl::string_view text, bool* reader_left) {
  if (::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
      ::fflush(stdout) == 0) {
    return kDone;
  }
  // Whoever reads has read enough, as in `handoff list ... | head`.
  if (errno == EPIPE) {
    if (reader_left != nullptr) *reader_left = true;
    return kDone;
  }
  return Fail(kFailed,
              absl::StrCat("cannot write the answer (", ::strerror(errno),
                           "); check where the output goes"));
}

ExitCode PrintJson(const google::protobuf::Message& message,
                   bool* reader_left) {
  const absl::StatusOr<std::string> json = FormatJson(message);
  if (json.ok()) return Print(*json, reader_left);
  return Fail(kFailed, absl::StrCat(json.status().message(),
                                    "; look for the cause in the service's "
                                    "log, or ask for --format=text"));
}

}  // namespace handoff
