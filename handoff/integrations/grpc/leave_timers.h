#ifndef HANDOFF_INTEGRATIONS_GRPC_LEAVE_TIMERS_H_
#define HANDOFF_INTEGRATIONS_GRPC_LEAVE_TIMERS_H_

#include <cstddef>

#include "grpcpp/server_builder.h"

namespace handoff {

// How gRPC's clients are asked to leave, at a time that we choose, without a
// failed call.
//
// What asks gracefully is an HTTP/2 GOAWAY in two steps by a server that goes
// on answering until the client knows. Server::Shutdown() is none: from its
// first instruction on it cancels calls that arrive, and each busy client loses
// one. The only other way to a GOAWAY in gRPC's C++ server is the greatest age
// of a connection, GRPC_ARG_MAX_CONNECTION_AGE_MS: a timer for each connection,
// set for good when the server is built.
//
// So servers are given an age that no connection reaches, by which the timers
// can be told from others, and gRPC an EventEngine (an interface of its own,
// through its own factory) which hands everything on to gRPC's engine and
// remembers these timers. To ask is to have them run now.
//
// Both are of the process, as the engine is. All of this is thread-safe.

// To be called before anything else of gRPC is used, since gRPC makes its
// engine at the first use. Calling again does nothing.
void InstallLeaveTimers();

// Gives every connection of the server a timer.
void AddLeaveTimersTo(::grpc::ServerBuilder& builder);

// Asks every connection of such servers to leave. With `from_now_on` also those
// that are being set up, and all that come, at once.
void AskClientsToLeave(bool from_now_on);

// Whether there has been a timer. If not, and there are connections, gRPC was
// used before InstallLeaveTimers().
bool LeaveTimersWork();

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_GRPC_LEAVE_TIMERS_H_
