#ifndef TESTS_BENCHMARK_HANDOFFS_CLIENTS_H_
#define TESTS_BENCHMARK_HANDOFFS_CLIENTS_H_

namespace handoff::benchmark {

// The role of the other ends of all sessions: connects `count` times to
// 127.0.0.1:`port`. Says "connected". Told "talk N", sends 16 bytes every 5 ms
// on each of the first N, as soon as the same have come back; told "stop", says
// "echoes N" with how many have come since. Dies where a byte is wrong, or a
// connection ends. Returns at the end of standard input.
void RunClients(int port, int count);

}  // namespace handoff::benchmark

#endif  // TESTS_BENCHMARK_HANDOFFS_CLIENTS_H_
