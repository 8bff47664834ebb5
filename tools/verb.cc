#include "tools/verb.h"

namespace handoff {
namespace {

constexpr VerbText kVerbs[] = {
    {Verb::kStatus, "status", "--handoff=PATH|--admin=ADDR [OPTION...]",
     "who serves there: process, counts, last handoff",
     R"(Says who serves there: the process, its label, its generation (1 for a fresh
start, then one more for each handoff), what it is doing, how long it has run,
how many listeners, other descriptors, blobs and sessions it would hand over,
how many descriptors it has open of how many it may have, and how the last
handoff went. The admin endpoint adds the build, memory, whether it accepts
connections, a lock, and the handoff that is under way.
)"},
    {Verb::kList, "list", "--handoff=PATH|--admin=ADDR [OPTION...]",
     "every listener, descriptor, blob and session",
     R"(Lists what the process would hand over now, a line for each listener, other
descriptor, blob and session: its name (of a session, its type), the session's
id, its age, how many handoffs it has lived through, and its descriptors with
their addresses ("local <- peer"). The admin endpoint lists no blobs, and says
of a session why it cannot move.
)"},
    {Verb::kLedger, "ledger", "--handoff=PATH|--admin=ADDR [OPTION...]",
     "what became of each of them in the last handoffs",
     R"(Tells what became of everything in the last handoffs, oldest first: how each
ended, how long its sessions were frozen (the blackout: median, 99th percentile
and longest, over sessions), and its entries by outcome:

  moved    the successor has it
  kept     could not move; the predecessor serves it to its end
  drained  stayed with the predecessor, and has ended there
  refused  the successor could not take it
  closed   ended while the handoff was under way
  lost     nobody has it

The admin endpoint adds how long each phase took.
)"},
    {Verb::kUpgrade, "upgrade",
     "--handoff=PATH [--exe=PATH] [OPTION...]\n"
     "       handoff upgrade --admin=ADDR [--exe=PATH|--wait] [OPTION...]",
     "hands over to a new binary, and follows it to the end",
     R"(Has the service start its new binary, the file that it is configured with or
another one (over the endpoint, of those that it allows), and hand over to it;
or waits for a handoff to a process that is started otherwise. Shows how far
each phase is, and in the end what became of it. Exits with 0 where it is
committed, with 5 where it is aborted: then the service goes on as before. To go
away changes nothing: the handoff goes on, and handoff abort ends it.
)"},
    {Verb::kRehearse, "rehearse",
     "--admin=ADDR [--exe=PATH] [OPTION...]\n"
     "       handoff rehearse --handoff=PATH [OPTION...] -- COMMAND "
     "[ARGUMENT...]",
     "finds out whether a new binary could take over",
     R"(Has the new binary of the service executed: by the service, as handoff upgrade
has, or by this command, which executes COMMAND with the arguments that it will
have. It receives a copy of everything and restores it, as if it took over; then
it lets go of it and ends. The service goes on all the time, and its clients see
nothing. Says what would have moved, and lists what would not, each with the
reason. Exits with 0 where everything would move, else with 1.

COMMAND's output goes to standard error. It has to be built with a library that
knows rehearsals: any other takes over in earnest.
)"},
    {Verb::kWatch, "watch", "--admin=ADDR [OPTION...]",
     "events as they happen, over all handoffs",
     R"(Prints a line for each event as it happens: its number, time and kind, the
process with its generation, the handoff it belongs to, and what there is to say
of it. Goes on at the successor after a handoff, and says so where events are
gone. Ctrl-C ends it, with 0.
)"},
    {Verb::kDrain, "drain", "--admin=ADDR --all|--session=ID... [OPTION...]",
     "has sessions end",
     R"(Has all sessions end, or those that are named, as the service ends them when it
stops: after what they are doing. What is left at the deadline is ended at once.
Says how many there were, and how they ended.
)"},
    {Verb::kAbort, "abort", "--admin=ADDR [--reason=TEXT] [OPTION...]",
     "aborts the handoff that is under way",
     R"(Aborts the handoff that is under way, and comes back when that has ended. The
service goes on with every session. A handoff that is committed stays so.
)"},
    {Verb::kLock, "lock", "--admin=ADDR --reason=TEXT [OPTION...]",
     "refuses handoffs and rehearsals for a while",
     R"(Has the service refuse handoffs and rehearsals, whoever begins them, until
handoff unlock or the expiry. Whoever is refused is told the reason. Replaces an
earlier lock.
)"},
    {Verb::kUnlock, "unlock", "--admin=ADDR [OPTION...]",
     "ends what lock began",
     "Has the service take part in handoffs again, after handoff lock.\n"},
    {Verb::kAccept, "accept", "--admin=ADDR [OPTION...] on|off",
     "accepts new connections, or lets them wait",
     R"(Has the service accept new connections, or not: what connects meanwhile waits
in the kernel's queue. A successor accepts.
)"},
    {Verb::kRun, "run",
     "[--listen=NAME=ADDR]... [--takes_over]\n"
     "                   -- COMMAND [ARGUMENT...]",
     "runs a service, as process 1 of a container",
     R"(Binds the addresses, runs COMMAND with the sockets, as systemd's socket
activation gives them, and stays: starts it again after a crash, after a pause
that grows, while clients wait in the queue; passes on signals; reaps what is
left of any process. On SIGUSR2 or SIGHUP it starts COMMAND once more, and when
that has lived for a second, ends the first one by SIGTERM; or, with
--takes_over, leaves that to the service. On SIGTERM the service ends, and this
command with its exit code, or with 128 and the number of the signal that killed
it.
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

const VerbText& TextOf(Verb verb) {
  const VerbText* text = kVerbs;
  while (text->verb != verb) ++text;  // each verb has one
  return *text;
}

absl::string_view CommandSummary() {
  return R"(Asks a running service what it would hand over to its successor, and what
became of everything in its last handoffs; finds out whether a new binary could
take over, has it take over, and watches.)";
}

absl::string_view CommandDetails() {
  return R"(exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  nobody answers
  4  not allowed
  5  the handoff was aborted
)";
}

}  // namespace handoff
