#ifndef HANDOFF_PROTOCOL_VARIABLE_WORD_H_
#define HANDOFF_PROTOCOL_VARIABLE_WORD_H_

#include "handoff/protocol/outcome.h"

namespace handoff {

// For tests: the word as a variable, for two machines in one thread.
class VariableWord : public OutcomeWord {
 public:
  Outcome Decide(Outcome want) override {
    if (value_ == Outcome::kOpen) value_ = want;
    return value_;
  }
  Outcome Load() const override { return value_; }

 private:
  Outcome value_ = Outcome::kOpen;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_VARIABLE_WORD_H_
