#ifndef HANDOFF_PROTOCOL_VARIABLE_WORD_H_
#define HANDOFF_PROTOCOL_VARIABLE_WORD_H_

#include <functional>
#include <utility>

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
  void Retire() override { retired_ = value_ == Outcome::kCommitted; }
  bool Retired() const override { return retired_; }

 private:
  Outcome value_ = Outcome::kOpen;
  bool retired_ = false;
};

// For tests: a word as one side sees it, which tells what that side wants of it
// before it decides.
class WatchedWord : public OutcomeWord {
 public:
  // `word` is borrowed.
  WatchedWord(OutcomeWord& word, std::function<void(Outcome)> on_decide)
      : word_(word), on_decide_(std::move(on_decide)) {}
  Outcome Decide(Outcome want) override {
    on_decide_(want);
    return word_.Decide(want);
  }
  Outcome Load() const override { return word_.Load(); }
  void Retire() override { word_.Retire(); }
  bool Retired() const override { return word_.Retired(); }

 private:
  OutcomeWord& word_;
  const std::function<void(Outcome)> on_decide_;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_VARIABLE_WORD_H_
