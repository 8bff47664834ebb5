#include "handoff/memory_use.h"

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace handoff {
namespace {

class MemoryUseTest : public testing::Test {
 protected:
  MemoryUseTest()
      : root_(testing::TempDir() + "/" +
              testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::create_directories(root_ + "/a/b");
  }
  ~MemoryUseTest() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(root_ + "/" + name) << text;
  }
  uint64_t Limit() const {
    return ControlGroupMemoryLimit(root_ + "/membership", root_);
  }

  const std::string root_;
};

TEST_F(MemoryUseTest, TheLeastLimitOnTheWayUpCounts) {
  Write("membership", "3:cpu:/other\n0::/a/b\n");
  EXPECT_EQ(Limit(), 0u) << "no files, no limit";
  Write("a/b/memory.max", "max\n");
  EXPECT_EQ(Limit(), 0u);
  Write("a/memory.max", "4096\n");
  EXPECT_EQ(Limit(), 4096u);
  Write("a/b/memory.max", "8192\n");
  EXPECT_EQ(Limit(), 4096u);
  Write("memory.max", "1024\n");
  EXPECT_EQ(Limit(), 1024u);
}

TEST_F(MemoryUseTest, WithoutVersionTwoThereIsNoLimit) {
  EXPECT_EQ(Limit(), 0u) << "no /proc/self/cgroup";
  Write("memory.max", "1024\n");
  Write("membership", "3:memory:/\n");
  EXPECT_EQ(Limit(), 0u);
}

TEST_F(MemoryUseTest, ThisProcessUsesMemory) {
  EXPECT_GT(ReadMemoryUse().resident, 100'000u);
}

}  // namespace
}  // namespace handoff
