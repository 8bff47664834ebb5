// The inputs under corpus/, once each: the seeds of the fuzzers, and what they
// have found.

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/script.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace handoff {
namespace {

std::vector<std::string> files;

TEST(CorpusTest, EveryInputKeepsThePromises) {
  ASSERT_FALSE(files.empty());
  for (const std::string& file : files) {
    std::fprintf(stderr, "%s\n", file.c_str());  // the last one is the culprit
    std::ifstream in(file, std::ios::binary);
    const std::string input((std::istreambuf_iterator<char>(in)),
                            std::istreambuf_iterator<char>());
    const auto* data = reinterpret_cast<const uint8_t*>(input.data());
    const auto message = NewInput();
    EXPECT_FALSE(input.empty()) << file;
    EXPECT_TRUE(ReadInput(data, input.size(), *message)) << file;
    LLVMFuzzerTestOneInput(data, input.size());
  }
}

}  // namespace
}  // namespace handoff

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  handoff::files.assign(argv + 1, argv + argc);
  return RUN_ALL_TESTS();
}
