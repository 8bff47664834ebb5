#ifndef HANDOFF_PLAIN_TEXT_H_
#define HANDOFF_PLAIN_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// Parts of text for people. Names, labels, reasons and addresses come from
// elsewhere, a client's Unix address even from the client: everything but
// printable ASCII is escaped, so that none of them can end a line, forge one, or
// reach the terminal. All functions are thread-safe.

namespace handoff {

// Where there is none of something.
inline constexpr absl::string_view kNothing = "-";

// `text` with a backslash before each backslash, and every byte that is not
// printable ASCII as \xNN.
std::string OnOneLine(absl::string_view text);

// `text` as one word: in quotes unless it needs none, so that a space or comma
// in a name cannot pass for the end of a column.
std::string Word(absl::string_view text);
// kNothing where it is empty.
std::string WordOrNothing(absl::string_view text);

// In whole seconds, "2h3m4s"; from a day on "2d3h".
std::string FormatAge(absl::Duration age);
// In UTC: "2023-11-14T22:13:20Z".
std::string FormatUtc(absl::Time time);

}  // namespace handoff

#endif  // HANDOFF_PLAIN_TEXT_H_
