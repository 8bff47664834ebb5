// Every step of a handoff, on either side, under traffic: at each of them one
// process is killed, is stopped, loses its connection, is late, has no more
// descriptors, has no more memory. See crash_cell.h for what has to hold then.

#include <stdio.h>
#include <stdlib.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "tests/process/crash_cell.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

// Steps of the three courses together. A step that is lost from the seam would
// otherwise take its cells along without a word.
constexpr size_t kLeastSteps = 60;

class RecordTest : public testing::Test {
 public:
  explicit RecordTest(const Recorded* recorded) : recorded_(recorded) {}
  void TestBody() override {
    ASSERT_EQ(recorded_->error, "");
    EXPECT_GE(recorded_->steps.size(), kLeastSteps);
    EXPECT_FALSE(recorded_->alone.empty());
  }

 private:
  const Recorded* const recorded_;
};

class CellTest : public testing::Test {
 public:
  CellTest(const Cell& cell, const Recorded* recorded)
      : cell_(cell), recorded_(recorded) {}
  void TestBody() override { RunCell(cell_, *recorded_); }

 private:
  const Cell cell_;
  const Recorded* const recorded_;
};

// The sanitizers make each cell several times as long: some of them, in a way
// that takes every fault and every step in turn.
size_t Stride() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    defined(_GLIBCXX_TSAN)
  return 5;
#else
  return 1;
#endif
}

size_t Variable(const char* name, size_t otherwise) {
  size_t value = otherwise;
  const char* text = ::getenv(name);
  if (text != nullptr && !absl::SimpleAtoi(text, &value)) ::abort();
  return value;
}

// UBSan asks the kernel about a pointer by way of a pipe, and takes it for wrong
// where it can make none.
bool CanRun(const Cell& cell) {
#if defined(__SANITIZE_ADDRESS__)
  return cell.fault != "descriptors";
#else
  return !cell.fault.empty();
#endif
}

void Register(const Recorded* recorded) {
  testing::RegisterTest(
      "CrashMatrix", "Steps", nullptr, nullptr, __FILE__, __LINE__,
      [recorded]() -> testing::Test* { return new RecordTest(recorded); });
  // By their names, not by their places: each shard records for itself, and what
  // one of them has not met must not move the cells of the others.
  const size_t shards = Variable("TEST_TOTAL_SHARDS", 1);
  const size_t shard = Variable("TEST_SHARD_INDEX", 0);
  const std::vector<Cell> cells = AllCells(*recorded);
  for (size_t i = 0; i < cells.size(); ++i) {
    const size_t hash = std::hash<std::string>()(cells[i].Name());
    if (hash % shards != shard || hash / shards % Stride() != 0 ||
        !CanRun(cells[i])) {
      continue;
    }
    testing::RegisterTest("CrashMatrix", cells[i].Name().c_str(), nullptr,
                          nullptr, __FILE__, __LINE__,
                          [cell = cells[i], recorded]() -> testing::Test* {
                            return new CellTest(cell, recorded);
                          });
  }
  ::printf("%zu steps on either side, %zu cells, of which every %zu. is run\n",
           recorded->steps.size(), cells.size(), Stride());
}

}  // namespace
}  // namespace handoff::toy

int main(int argc, char** argv) {
  handoff::toy::MaybeRunToyService(argc, argv);
  // Register() shares the cells out.
  ::unsetenv("GTEST_TOTAL_SHARDS");
  ::unsetenv("GTEST_SHARD_INDEX");
  testing::InitGoogleTest(&argc, argv);
  const handoff::toy::Recorded recorded = handoff::toy::Record();
  handoff::toy::Register(&recorded);
  const int result = RUN_ALL_TESTS();
  handoff::toy::EndOrphans();
  return result;
}
