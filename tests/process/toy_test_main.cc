#include "gtest/gtest.h"
#include "tests/process/toy_process.h"

// These tests execute themselves again as the service under test.
int main(int argc, char** argv) {
  handoff::toy::MaybeRunToyService(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
