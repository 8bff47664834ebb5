#include "server/process_setup.h"

#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace handoff::server {
namespace {

std::string CurrentFolder() {
  char* folder = get_current_dir_name();
  std::string result(folder);
  free(folder);
  return result;
}

TEST(ResolveExecutableTest, PathsBecomeAbsoluteAndAreNotResolvedFurther) {
  EXPECT_EQ(*ResolveExecutable("/srv/current/server"), "/srv/current/server");
  EXPECT_EQ(*ResolveExecutable("bin/server"),
            absl::StrCat(CurrentFolder(), "/bin/server"));
  EXPECT_EQ(*ResolveExecutable("./server"),
            absl::StrCat(CurrentFolder(), "/./server"));
}

TEST(ResolveExecutableTest, NamesAreLookedForInPath) {
  setenv("PATH", "/nonexistent:/bin:/usr/bin", 1);
  EXPECT_EQ(*ResolveExecutable("sh"), "/bin/sh");
  EXPECT_TRUE(absl::IsNotFound(ResolveExecutable("no-such-program").status()));
}

TEST(ConnectionsForTest, EachMayNeedTwoDescriptorsAndOthersRemain) {
  EXPECT_EQ(ConnectionsFor(1'000'000, 10'000), 10'000u);
  EXPECT_EQ(ConnectionsFor(1128, 10'000), 500u);
  EXPECT_EQ(ConnectionsFor(20, 10'000), 1u);
}

TEST(RaiseDescriptorLimitTest, IsNoLowerThanBefore) {
  const absl::StatusOr<size_t> first = RaiseDescriptorLimit();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*RaiseDescriptorLimit(), *first);
}

}  // namespace
}  // namespace handoff::server
