#ifndef TESTS_BENCHMARK_HANDOFFS_SERVICE_H_
#define TESTS_BENCHMARK_HANDOFFS_SERVICE_H_

#include <cstddef>
#include <string>

namespace handoff::benchmark {

struct ServiceSettings {
  std::string path;  // of the handoff socket
  size_t workers = 1;
  // Of each session: a BytesValue.
  size_t state_bytes = 256;
  // So many sessions change when their groups quiesce: what is left for the
  // blackout to send, exactly.
  size_t changes = 0;
};

// The role of a service that echoes, with one session for each connection: as
// small as a service can be. Says "port P" if it serves first, and then "serves
// committed=NANOSECONDS memory=BYTES": when it took over, and what it needed at
// most for that until it was ready. Told "sessions", says "sessions N"; told
// "blackouts", says "blackouts MS,MS,...": how long each group with sessions was
// frozen in the handoff that brought it here, once that is known. When it has
// been handed off, or standard input ends, it says "ended begun=NANOSECONDS":
// when it began to give, 0 if it did not.
void RunService(const ServiceSettings& settings);

}  // namespace handoff::benchmark

#endif  // TESTS_BENCHMARK_HANDOFFS_SERVICE_H_
