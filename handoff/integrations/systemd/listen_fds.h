#ifndef HANDOFF_INTEGRATIONS_SYSTEMD_LISTEN_FDS_H_
#define HANDOFF_INTEGRATIONS_SYSTEMD_LISTEN_FDS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "handoff/given_descriptor.h"

namespace handoff {

// The descriptors that systemd, or whoever speaks as it does, gave to this
// process (socket activation, sd_listen_fds(3)), for Options::given:
//
//   auto given = TakeListenFds();
//   if (!given.ok()) ...
//   options.given = *std::move(given);
//   ... handoff->Listen("http", "tcp:0.0.0.0:8080");  // given, or bound
//
// LISTEN_FDS says how many there are, from 3 on; LISTEN_FDNAMES has their names
// (FileDescriptorName= of the socket unit), separated by ':', of which several
// may be the same: they keep their order. Without it each is "unknown", as with
// systemd. Empty where nothing was given to this process: LISTEN_PID is not its
// pid, or not set.
//
// Makes the descriptors CLOEXEC, and removes the variables in any case: our
// children must not take them for theirs. So call it once, before threads are
// started. They are closed with the last copy of what it returns.
//
// INVALID_ARGUMENT  the variables make no sense, or name a descriptor that is
//                   not open; nothing was closed
absl::StatusOr<std::vector<GivenDescriptor>> TakeListenFds();

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_SYSTEMD_LISTEN_FDS_H_
