#ifndef HANDOFF_TOOLS_LOAD_TALLY_H_
#define HANDOFF_TOOLS_LOAD_TALLY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace handoff::load {

// What the clients saw, all of them together. Not thread-safe.
struct Tally {
  uint64_t requests_ok = 0;
  uint64_t requests_failed = 0;
  // Of rooms, each counted for each member that was told, or should have been.
  uint64_t messages_ok = 0;
  uint64_t messages_lost = 0;
  uint64_t messages_doubled = 0;
  // Bytes of answers' bodies that came and were right.
  uint64_t bytes_checked = 0;
  // The longest wait for bytes of an answer that were due at once (of a short
  // connection's, from the attempt to connect), and the longest within a paced
  // one, beyond its usual.
  absl::Duration longest_answer_wait;
  absl::Duration longest_pace_gap;

  // What went wrong, of any kind, and how often; the run has failed if there is
  // any. The first kMaxProblems sorts are kept, the others counted together.
  static constexpr size_t kMaxProblems = 20;
  struct Problem {
    std::string text;
    uint64_t times = 1;
  };
  std::vector<Problem> problems;
  uint64_t further_problems = 0;

  void AddProblem(std::string text) {
    for (Problem& problem : problems) {
      if (problem.text != text) continue;
      ++problem.times;
      return;
    }
    if (problems.size() < kMaxProblems) {
      problems.push_back({std::move(text), 1});
    } else {
      ++further_problems;
    }
  }
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_TALLY_H_
