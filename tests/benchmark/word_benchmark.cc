// The word that decides a handoff.

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "handoff/fd/shared_word.h"
#include "tests/benchmark/part.h"

namespace handoff {
namespace {

absl::Status Lost() { return absl::InternalError("a swap has not stored"); }

// To and fro, so that each swap stores.
void SwapSharedWord(Measure& measure) {
  absl::StatusOr<SharedWord> word = SharedWord::Create();
  if (!word.ok()) return measure.Fail(word.status());
  uint32_t value = 0;
  measure.Run([&]() -> absl::Status {
    const uint32_t next = value ^ 1;
    if (word->CompareExchange(value, next) != value) return Lost();
    value = next;
    return absl::OkStatus();
  });
}

void SwapAtomic(Measure& measure) {
  std::atomic<uint32_t> word = 0;
  uint32_t value = 0;
  measure.Run([&]() -> absl::Status {
    const uint32_t next = value ^ 1;
    uint32_t expected = value;
    if (!word.compare_exchange_strong(expected, next)) return Lost();
    benchmark::DoNotOptimize(word);
    value = next;
    return absl::OkStatus();
  });
}

const bool kRegistered = [] {
  const Part part("word: swap", "swap");
  part.Handoff(SwapSharedWord);
  part.Bound("compare-exchange of a variable", SwapAtomic);
  return true;
}();

}  // namespace
}  // namespace handoff
