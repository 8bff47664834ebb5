#ifndef TESTS_BENCHMARK_PART_H_
#define TESTS_BENCHMARK_PART_H_

#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "benchmark/benchmark.h"

namespace handoff {

// One part of the library, measured beside its lower bounds: what cannot be
// done without, done by hand. Registers benchmarks "NAME/handoff" and
// "NAME/bound: WHAT", which bench.py pairs.
//
//   Part part("the word: swap", "swap");
//   part.Handoff([](Measure& measure) {
//     SharedWord word = ...;
//     measure.Run([&] { return Swap(word); });
//   });
//
// Each function is called for each run. An operation returns what went wrong;
// that ends the run as an error.
class Measure {
 public:
  Measure(benchmark::State& state, std::string thing, double things)
      : state_(state), thing_(std::move(thing)), things_(things) {}

  // Times `operation`, an `absl::Status()`.
  template <typename Operation>
  void Run(Operation operation) {
    for (auto _ : state_) {
      if (absl::Status status = operation(); !status.ok()) {
        return Fail(status);
      }
    }
    // Seconds of CPU time of one thing.
    state_.counters[absl::StrCat("per ", thing_)] = benchmark::Counter(
        things_, benchmark::Counter::kIsIterationInvariantRate |
                     benchmark::Counter::kInvert);
  }

  // Before Run(), instead of it.
  void Fail(const absl::Status& status) {
    const std::string message(status.message());
    state_.SkipWithError(message.c_str());
  }

 private:
  benchmark::State& state_;
  const std::string thing_;
  const double things_;
};

class Part {
 public:
  // One operation has `things` of what its time is given for.
  Part(std::string name, std::string thing, double things = 1)
      : name_(std::move(name)), thing_(std::move(thing)), things_(things) {}

  void Handoff(std::function<void(Measure&)> run) const {
    Register("handoff", std::move(run));
  }
  void Bound(absl::string_view what, std::function<void(Measure&)> run) const {
    Register(absl::StrCat("bound: ", what), std::move(run));
  }

 private:
  void Register(absl::string_view what,
                std::function<void(Measure&)> run) const {
    benchmark::RegisterBenchmark(absl::StrCat(name_, "/", what).c_str(),
                                 [run = std::move(run), thing = thing_,
                                  things = things_](benchmark::State& state) {
                                   Measure measure(state, thing, things);
                                   run(measure);
                                 });
  }

  const std::string name_;
  const std::string thing_;
  const double things_;
};

}  // namespace handoff

#endif  // TESTS_BENCHMARK_PART_H_
