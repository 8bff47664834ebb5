#ifndef TESTS_BENCHMARK_HANDOFFS_BARE_LOOP_H_
#define TESTS_BENCHMARK_HANDOFFS_BARE_LOOP_H_

#include <cstddef>

namespace handoff::benchmark {

// What the kernel takes for moving connections, whoever moves them: the lower
// bound of a handoff. Two processes, an AF_UNIX SOCK_SEQPACKET between them;
// 252 descriptors a message with the same bytes of state (in the message where
// they fit, else in one memfd for each message), SO_COOKIE read on both sides
// and compared, each descriptor registered in the receiver's epoll, as it is in
// the sender's. As with a handoff the receiver is a new process. No protocol,
// no records, no acknowledgement but the last, no checks of who it is.
//
// The role of both: listens, says "port P", accepts `count` connections, says
// "accepted". Told "move", moves them all, and says "moved NANOSECONDS": from
// before the first message to when the receiver has everything. Told "state",
// the same with the state alone. Returns at the end of standard input.
void RunBareLoop(size_t count, size_t state_bytes);

}  // namespace handoff::benchmark

#endif  // TESTS_BENCHMARK_HANDOFFS_BARE_LOOP_H_
