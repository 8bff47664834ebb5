#ifndef HANDOFF_TOOLS_OUTPUT_H_
#define HANDOFF_TOOLS_OUTPUT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

// What the command says, and how it ends.

namespace handoff {

enum ExitCode {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kNobodyAnswers = 3,
  kNotAllowed = 4,
  kAborted = 5,
};

// Says on standard error, in one line whatever `text` has in it, what to do.
// Returns `code`.
ExitCode Fail(ExitCode code, absl::string_view text);

// Of the terminal that standard error is; 0: it is none.
size_t TerminalWidth();

// kDone once `text` is on standard output, or if nobody reads that any more;
// then `*reader_left`, unless that is null.
ExitCode Print(absl::string_view text, bool* reader_left = nullptr);
// As one line of JSON.
ExitCode PrintJson(const google::protobuf::Message& message,
                   bool* reader_left = nullptr);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_OUTPUT_H_
