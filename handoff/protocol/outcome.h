#ifndef HANDOFF_PROTOCOL_OUTCOME_H_
#define HANDOFF_PROTOCOL_OUTCOME_H_

#include <cstdint>

namespace handoff {

// The values of the word.
enum class Outcome : uint32_t { kOpen = 0, kCommitted = 1, kAborted = 2 };

// The word that decides a handoff, as the machines see it. In production a
// SharedWord that both processes map; in a simulation a variable.
class OutcomeWord {
 public:
  virtual ~OutcomeWord() = default;
  // Decides for `want` where nothing is decided yet. Returns what is in force
  // afterwards, by whoever decided it: the caller obeys.
  virtual Outcome Decide(Outcome want) = 0;
  virtual Outcome Load() const = 0;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_OUTCOME_H_
