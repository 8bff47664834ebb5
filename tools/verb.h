#ifndef HANDOFF_TOOLS_VERB_H_
#define HANDOFF_TOOLS_VERB_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace handoff {

enum class Verb {
  kHelp,
  kCompletion,
  kStatus,
  kList,
  kLedger,
  kRehearse,
  kUpgrade,
  kWatch,
  kDrain,
  kAbort,
  kLock,
  kUnlock,
  kAccept,
  kRun,
};

// What help says of a verb beside its options.
struct VerbText {
  Verb verb;
  absl::string_view name;
  // What follows "handoff NAME", in brackets where it may be left out.
  absl::string_view usage;
  absl::string_view summary;
  // Whole lines, of at most 80 columns.
  absl::string_view details;
};

// In the order in which help has them.
absl::Span<const VerbText> VerbTexts();
const VerbText& TextOf(Verb verb);

// Of the command itself: what help begins and ends with.
absl::string_view CommandSummary();
absl::string_view CommandDetails();

}  // namespace handoff

#endif  // HANDOFF_TOOLS_VERB_H_
