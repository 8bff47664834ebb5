#ifndef TESTS_PROCESS_TOY_SERVICE_H_
#define TESTS_PROCESS_TOY_SERVICE_H_

#include <map>
#include <string>

// A small service that uses the library for real, and fails on demand: what the
// process tests run as predecessors and successors.
//
// It speaks lines over TCP. Each connection is a session of type "toy".
//
//   echo TEXT   the same line back
//   who         "PID GENERATION HANDOFFS LINES", lines of this connection
//   total       lines on all connections, of all generations (a blob)
//   post        the answer "posted" goes through every other group and back
//   ballast N   state of N bytes for this connection; "ok"
//   weigh       "SIZE SUM" of that state
//   flood N     N bytes of FloodPattern()
//   count       "ID CONSUMED WRITTEN PENDING KERNEL-CONSUMED KERNEL-WRITTEN":
//               bytes of this connection, by the service's count, carried along
//               in its state, and by the kernel's
//   poison      whoever restores this connection dies of it; "ok"
//   keep        this connection cannot move; "ok"
//   close       the service ends the connection; reset: with a RST
//
// Settings (key=value arguments):
//   handoff=PATH  listen=ADDRESS  label=TEXT  groups=N
//   sharded=1                a listener for each group
//   accept=0                 the groups accept nothing: connections wait
//   lowest=N highest=N       versions of "toy" (default 1 and 2)
//   hello= staging= frozen= quiesce= released= watch= drain= frame=   durations
//   tokens=N                 the groups post N tokens to each other: see
//                            token_ring.h
//   fault=STEP:FAULT record=1  see fault.h
//   fail_save=N              the blob cannot be saved, the Nth time
//   fail_restore=N           nor restored; it changes each time it is saved
//   farewell=1               on Drain the groups send "bye" and end what they have
//   send_buffer=N            SO_SNDBUF of connections
//   stop_at=EVENT signal=N   raises the signal when the observer sees the event
//   refuse=ID-or-all         the receiver refuses sessions
//   hang=quiesce             a group does not come back from Quiesce
//   extra=NAME               one more listener, on a port of its own or at
//   extra_at=ADDRESS
//   rehearse=1               only finds out whether it could take over
//   scm_pidfd=0              identity as before Linux 6.5
//   exe=PATH                 what SIGUSR2 starts
//   drop_type=1              takes no sessions
//   fd_store=1               keeps what it has at NOTIFY_SOCKET, and takes
//                            LISTEN_FDS
//   max_stored=N store_interval= store_proof=   StoreLimits
//   control=PATH             answers at PATH.GENERATION: see toy_control.h
//
// On standard output: "event KIND TEXT" for each event, "failed STATUS" and exit
// code 1 where it cannot start, "ready PID GENERATION PORT" when it serves,
// "tokens COUNT DISTINCT HOPS RECEIPTS" before that, where there are any,
// "refused STATUS" where SIGUSR2 was. Exit code 0 once handed off, 3 after
// SIGTERM.

namespace handoff::toy {

using Settings = std::map<std::string, std::string>;

// The whole life of one process; returns its exit code. `arguments` are what
// SIGUSR2 passes on.
int RunToyService(const Settings& settings);

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_TOY_SERVICE_H_
