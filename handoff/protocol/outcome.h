#ifndef HANDOFF_PROTOCOL_OUTCOME_H_
#define HANDOFF_PROTOCOL_OUTCOME_H_

#include <cstdint>

namespace handoff {

// What the word has decided.
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
  // Where it is committed: the predecessor has no business with the successor's
  // end any more. Known to it even where no frame can tell it. Load() goes on to
  // say kCommitted.
  virtual void Retire() = 0;
  virtual bool Retired() const = 0;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_OUTCOME_H_
