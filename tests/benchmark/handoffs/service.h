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
// nanoseconds=N memory=BYTES": how long it took from the offer to the commit,
// and what that needed at most until everything was restored. Told "sessions",
// says "sessions N"; told "blackouts", says "blackouts MS,MS,...": how long
// each group with sessions was frozen in the handoff that brought it here, once
// that is known. When it has been handed off, or standard input ends, it says
// "ended".
void RunService(const ServiceSettings& settings);

}  // namespace handoff::benchmark

#endif  // TESTS_BENCHMARK_HANDOFFS_SERVICE_H_
