#ifndef TESTS_BENCHMARK_HANDOFFS_ROWS_H_
#define TESTS_BENCHMARK_HANDOFFS_ROWS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace handoff::benchmark {

// One line of the table: what was measured beside its bound, pair by pair
// within one run.
struct Row {
  std::string key;
  std::string unit;
  std::vector<double> measured;
  std::vector<double> bound;
  // What else there is to show, by name.
  std::vector<std::pair<std::string, double>> facts;
  std::vector<std::pair<std::string, std::vector<double>>> series;
  // Lines that came out of the same run.
  std::vector<Row> also;
};

// The keys that Measure() knows.
std::vector<std::string> RowKeys();

// NOT_FOUND for another key. `quick`: small, to see that it works.
absl::StatusOr<Row> Measure(absl::string_view key, bool quick);

// As one line of JSON, with the ratios.
std::string ToJson(const Row& row);

}  // namespace handoff::benchmark

#endif  // TESTS_BENCHMARK_HANDOFFS_ROWS_H_
