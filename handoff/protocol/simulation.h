#ifndef HANDOFF_PROTOCOL_SIMULATION_H_
#define HANDOFF_PROTOCOL_SIMULATION_H_

#include <cstdint>
#include <string>

namespace handoff {

// For tests: one handoff in memory, in an order and with faults that the seed
// decides: several at random instants, or none.
struct SimulatedHandoff {
  // The first promise that was broken; empty where all were kept.
  std::string fault;
  // What happened, an action a line; empty unless it was asked for.
  std::string log;
  // What came of it. Not exclusive: what is rolled back or adopted was
  // committed, and a rehearsal is aborted.
  bool committed = false;
  bool aborted = false;
  bool refused = false;
  bool adopted = false;
  bool rolled_back = false;
  bool rehearsed = false;
  bool nothing = false;  // it ended before there was an offer
  bool forged = false;   // a frame was taken for another than was sent
  int steps = 0;
};
SimulatedHandoff Simulate(uint64_t seed, bool keep_log);

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_SIMULATION_H_
