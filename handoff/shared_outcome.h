#ifndef HANDOFF_SHARED_OUTCOME_H_
#define HANDOFF_SHARED_OUTCOME_H_

#include <utility>

#include "handoff/fd/shared_word.h"
#include "handoff/protocol/outcome.h"

namespace handoff {

// The word that decides a handoff, in memory that both processes map.
// Thread-safe.
class SharedOutcome : public OutcomeWord {
 public:
  explicit SharedOutcome(SharedWord word) : word_(std::move(word)) {}

  Outcome Decide(Outcome want) override {
    const uint32_t before =
        word_.CompareExchange(static_cast<uint32_t>(Outcome::kOpen),
                              static_cast<uint32_t>(want));
    return before == static_cast<uint32_t>(Outcome::kOpen) ? want
                                                           : Meaning(before);
  }
  Outcome Load() const override { return Meaning(word_.Load()); }
  void Retire() override {
    word_.CompareExchange(static_cast<uint32_t>(Outcome::kCommitted), kRetired);
  }
  bool Retired() const override { return word_.Load() == kRetired; }

  int fd() const { return word_.fd(); }

 private:
  // Committed, and retired.
  static constexpr uint32_t kRetired = 3;

  static Outcome Meaning(uint32_t value) {
    return value == kRetired ? Outcome::kCommitted
                             : static_cast<Outcome>(value);
  }

  SharedWord word_;
};

}  // namespace handoff

#endif  // HANDOFF_SHARED_OUTCOME_H_
