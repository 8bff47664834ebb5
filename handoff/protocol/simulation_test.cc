// Hundreds of thousands of handoffs, each in its own order and with its own
// faults. README.md in this folder says what --seeds, --first_seed and --seed
// do.

#include "handoff/protocol/simulation.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"

namespace handoff {
namespace {

// A sanitizer makes each several times as slow.
#if defined(__SANITIZE_ADDRESS__) || defined(_GLIBCXX_TSAN)
constexpr uint64_t kSeeds = 5'000;
#else
constexpr uint64_t kSeeds = 100'000;
#endif

uint64_t seeds = kSeeds;
uint64_t first_seed = 0;
bool print_schedule = false;

class Tally {
 public:
  void Add(const SimulatedHandoff& run) {
    committed_ += run.committed;
    aborted_ += run.aborted;
    refused_ += run.refused;
    adopted_ += run.adopted;
    rolled_back_ += run.rolled_back;
    rehearsed_ += run.rehearsed;
    nothing_ += run.nothing;
    forged_ += run.forged;
    steps_ += static_cast<uint64_t>(run.steps);
  }
  void Print(double seconds) const {
    std::printf(
        "%.0f seeds/s, %.0f steps each: committed %.0f (adopted %.0f, rolled "
        "back %.0f), aborted %.0f (rehearsals %.0f), refused %.0f, ended "
        "before an offer %.0f; with a forged frame %.0f\n",
        static_cast<double>(seeds) / seconds,
        steps_ / static_cast<double>(seeds), committed_, adopted_, rolled_back_,
        aborted_, rehearsed_, refused_, nothing_, forged_);
  }
  void ExpectEach() const {
    EXPECT_GT(committed_, 0);
    EXPECT_GT(aborted_, 0);
    EXPECT_GT(refused_, 0);
    EXPECT_GT(adopted_, 0);
    EXPECT_GT(rolled_back_, 0);
    EXPECT_GT(rehearsed_, 0);
    EXPECT_GT(nothing_, 0);
    EXPECT_GT(forged_, 0);
  }

 private:
  double committed_ = 0, aborted_ = 0, refused_ = 0, adopted_ = 0,
         rolled_back_ = 0, rehearsed_ = 0, nothing_ = 0, forged_ = 0,
         steps_ = 0;
};

TEST(SimulationTest, EverySeedKeepsThePromises) {
  const NoDescriptorLeak no_leak;
  Tally tally;
  const auto begin = std::chrono::steady_clock::now();
  for (uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    const SimulatedHandoff run = Simulate(seed, print_schedule);
    tally.Add(run);
    if (print_schedule) std::printf("%s", run.log.c_str());
    ASSERT_EQ(run.fault, "")
        << "with seed " << seed << ":\n"
        << Simulate(seed, /*keep_log=*/true).log
        << "To see it again: bazel run //handoff/protocol:simulation_test -- "
           "--seed="
        << seed;
  }
  const std::chrono::duration<double> taken =
      std::chrono::steady_clock::now() - begin;
  tally.Print(taken.count());
  if (seeds >= 1'000) tally.ExpectEach();
}

bool ReadFlag(std::string argument) {
  absl::string_view value = argument;
  if (absl::ConsumePrefix(&value, "--seeds=")) {
    return absl::SimpleAtoi(value, &seeds) && seeds > 0;
  }
  if (absl::ConsumePrefix(&value, "--first_seed=")) {
    return absl::SimpleAtoi(value, &first_seed);
  }
  if (absl::ConsumePrefix(&value, "--seed=")) {
    seeds = 1;
    print_schedule = true;
    return absl::SimpleAtoi(value, &first_seed);
  }
  return false;
}

}  // namespace
}  // namespace handoff

int main(int argc, char** argv) {
  // It says of each flipped byte that a string is no UTF-8.
  google::protobuf::SetLogHandler(nullptr);
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (handoff::ReadFlag(argv[i])) continue;
    std::fprintf(stderr, "not --seeds=N, --first_seed=M or --seed=N: %s\n",
                 argv[i]);
    return 2;
  }
  return RUN_ALL_TESTS();
}
