#ifndef HANDOFF_FD_DESCRIPTOR_DETAILS_H_
#define HANDOFF_FD_DESCRIPTOR_DETAILS_H_

#include "absl/status/statusor.h"
#include "proto/handoff.pb.h"

namespace handoff {

// What the kernel says of `fd` beside what it is (DescribeDescriptor): for
// people who look into a running process. Borrows `fd`; thread-safe.
//
// Of a socket: the options that matter for its kind, by their names in
// socket(7), ip(7), ipv6(7) and tcp(7); one that the kernel does not have is
// left out. SO_LINGER is in seconds, -1 where it is off; SO_RCVBUF and
// SO_SNDBUF are what the kernel uses, twice what was asked for.
//
// The queues: of a connection or a datagram socket SIOCINQ and SIOCOUTQ (of a
// datagram socket SIOCINQ is the next datagram; of a Unix socket SIOCOUTQ is
// memory, overhead included); of a TCP listener the connections that wait and
// how many may. A Unix listener does not tell.
//
// Empty for anything that is no socket. FAILED_PRECONDITION where `fd` is not
// open.
absl::StatusOr<v1::DescriptorDetails> ReadDescriptorDetails(int fd);

}  // namespace handoff

#endif  // HANDOFF_FD_DESCRIPTOR_DETAILS_H_
