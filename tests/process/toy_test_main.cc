#include "gtest/gtest.h"
#include "tests/process/toy_process.h"

// These tests execute themselves again as the service under test.
int main(int argc, char** argv) {
  handoff::toy::MaybeRunToyService(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  handoff::toy::EndOrphans();
  return result;
}
