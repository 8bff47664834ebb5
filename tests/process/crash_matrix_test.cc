// Every step of a handoff, on either side, under traffic: at each of them one
// process is killed, is stopped, loses its connection, is late, has no more
// descriptors, has no more memory. See crash_cell.h for what has to hold then.

#include <stdio.h>

#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/process/crash_cell.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

// Steps of the three courses together. A step that is lost from the seam would
// otherwise take its cells along without a word.
constexpr size_t kLeastSteps = 50;

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

void Register(const Recorded* recorded) {
  testing::RegisterTest(
      "CrashMatrix", "Steps", nullptr, nullptr, __FILE__, __LINE__,
      [recorded]() -> testing::Test* { return new RecordTest(recorded); });
  const std::vector<Cell> cells = AllCells(*recorded);
  std::set<std::string> faults;
  for (size_t i = 0; i < cells.size(); i += Stride()) {
    faults.insert(cells[i].fault);
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
  testing::InitGoogleTest(&argc, argv);
  const handoff::toy::Recorded recorded = handoff::toy::Record();
  handoff::toy::Register(&recorded);
  const int result = RUN_ALL_TESTS();
  handoff::toy::EndOrphans();
  return result;
}
