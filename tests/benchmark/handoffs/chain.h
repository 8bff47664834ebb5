#ifndef TESTS_BENCHMARK_HANDOFFS_CHAIN_H_
#define TESTS_BENCHMARK_HANDOFFS_CHAIN_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "handoff/fd/temp_folder.h"
#include "tests/benchmark/handoffs/program.h"

namespace handoff::benchmark {

// What is moved.
struct Load {
  size_t sessions = 0;
  size_t state_bytes = 256;
  size_t workers = 1;
  size_t changes = 0;  // of those, change after the last live round
  size_t talking = 0;  // whose clients talk all the time
};

// What one handoff was like.
struct Measured {
  double milliseconds = 0;        // from the Offer to the commit
  std::vector<double> blackouts;  // of each group with sessions, milliseconds
  double memory_bytes = 0;        // that the successor needed until Ready
};

// A service, its clients, and one handoff after the other.
class Chain {
 public:
  explicit Chain(const Load& load);
  ~Chain();

  // Hands over to a new process. Dies where a session is missing afterwards.
  Measured HandOver();

 private:
  std::unique_ptr<Program> StartService();
  void AwaitSessions(Program& service);

  const Load load_;
  const TempFolder folder_;
  std::unique_ptr<Program> service_;
  std::unique_ptr<Program> clients_;
};

// The bare loop with connections of its own.
class BareLoop {
 public:
  BareLoop(size_t sessions, size_t state_bytes);
  ~BareLoop();

  double MoveMilliseconds();
  double MoveStateMilliseconds();

 private:
  double Move(const char* what);

  Program loop_;
  std::unique_ptr<Program> clients_;
};

}  // namespace handoff::benchmark

#endif  // TESTS_BENCHMARK_HANDOFFS_CHAIN_H_
