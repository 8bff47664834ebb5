#include "tools/verb.h"

namespace handoff {
namespace {

constexpr VerbText kVerbs[] = {
    {Verb::kStatus, "status", "--handoff=PATH [OPTION...]",
     "who serves there: process, counts, last handoff",
     R"(Says who serves at PATH: the process, its label, its generation (1 for a fresh
start, then one more for each handoff), what it is doing, how long it has run,
how many listeners, other descriptors, blobs and sessions it would hand over,
how many descriptors it has open of how many it may have, and how the last
handoff went.
)"},
    {Verb::kList, "list", "--handoff=PATH [OPTION...]",
     "every listener, descriptor, blob and session",
     R"(Lists what the process at PATH would hand over now, a line for each listener,
other descriptor, blob and session: its name (of a session, its type), the
session's id, its age, how many handoffs it has lived through, and its
descriptors with their addresses ("local <- peer").
)"},
    {Verb::kLedger, "ledger", "--handoff=PATH [OPTION...]",
     "what became of each of them in the last handoffs",
     R"(Tells what became of everything in the last handoffs, oldest first: how each
ended, how long its sessions were frozen (the blackout: median, 99th percentile
and longest, over sessions), and its entries by outcome:

  moved    the successor has it
  kept     could not move; the predecessor serves it to its end
  refused  the successor could not take it
  closed   ended while the handoff was under way
  lost     nobody has it
)"},
    {Verb::kRehearse, "rehearse",
     "--handoff=PATH [OPTION...] -- COMMAND [ARGUMENT...]",
     "executes COMMAND, which takes everything but leaves it",
     R"(Executes COMMAND, the new binary of the service at PATH with the arguments that
it will have. It receives a copy of everything and restores it, as if it took
over; then it lets go of it and ends. The service at PATH goes on all the time,
and its clients see nothing. Says what would have moved, and lists what would
not, each with the reason. Exits with 0 where everything would move, else 1.

COMMAND's output goes to standard error. It has to be built with a library that
knows rehearsals: any other takes over in earnest.
)"},
    {Verb::kCompletion, "completion", "bash|zsh|fish",
     "a shell's code that completes this command",
     R"(Prints code for a shell, with which it completes the verbs and options of this
command. In bash or zsh, source <(handoff completion bash) or ... zsh, where zsh
has run compinit; in fish, handoff completion fish | source.
)"},
    {Verb::kHelp, "help", "[VERB]",
     "how the command, or one of its verbs, is used",
     "Says how the command, or one of its verbs, is used.\n"},
};

}  // namespace

absl::Span<const VerbText> VerbTexts() { return kVerbs; }

absl::string_view CommandDetails() {
  return R"(exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  nobody answers
  4  not allowed
)";
}

}  // namespace handoff
