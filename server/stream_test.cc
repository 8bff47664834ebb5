#include "server/stream.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace handoff::server {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);

TEST(StreamTest, BytesFollowTheFormulaFromAnyOffset) {
  const uint64_t offsets[] = {0, 1, 4095, uint64_t{1} << 32,
                              (uint64_t{1} << 62) + 12345};
  for (const uint64_t first : offsets) {
    std::string bytes(1000, '\0');
    FillStream(first, absl::MakeSpan(&bytes[0], bytes.size()));
    for (uint64_t i = 0; i < bytes.size(); ++i) {
      const uint64_t expected = ((first + i) * 2654435761U >> 13) & 0xff;
      ASSERT_EQ(static_cast<unsigned char>(bytes[i]), expected)
          << "byte " << first + i;
    }
  }
}

TEST(StreamTest, WithoutARateEverythingIsDue) {
  Stream stream{.total = 1000, .rate = 0, .offset = 400, .started = kStart};
  EXPECT_EQ(stream.Due(kStart - absl::Hours(1)), 600u);
}

TEST(StreamTest, DueFollowsTheClockAndEndsAtTheTotal) {
  Stream stream{.total = 1000, .rate = 100, .offset = 0, .started = kStart};
  EXPECT_EQ(stream.Due(kStart), 0u);
  EXPECT_EQ(stream.Due(kStart + absl::Seconds(1)), 100u);
  stream.offset = 60;
  EXPECT_EQ(stream.Due(kStart + absl::Seconds(1)), 40u);
  EXPECT_EQ(stream.Due(kStart + absl::Hours(1)), 940u);
  EXPECT_EQ(stream.Due(kStart - absl::Hours(1)), 0u);
}

TEST(StreamTest, SomethingIsDueWheneverNextDueHasCome) {
  const uint64_t rates[] = {1,
                            3,
                            7,
                            99,
                            101,
                            1'000'003,
                            123'456'789'012,
                            std::numeric_limits<int64_t>::max()};
  for (const uint64_t rate : rates) {
    Stream stream{
        .total = 1 << 20, .rate = rate, .offset = 0, .started = kStart};
    absl::Time now = kStart;
    for (int i = 0; i < 1000 && stream.offset < stream.total; ++i) {
      now = std::max(now, stream.NextDue());
      const uint64_t due = stream.Due(now);
      ASSERT_GT(due, 0u) << "rate " << rate << ", offset " << stream.offset;
      stream.offset += due;
    }
  }
}

TEST(StreamTest, ManyTotalsDoNotOverflow) {
  const uint64_t most = std::numeric_limits<int64_t>::max();
  Stream stream{
      .total = most, .rate = most, .offset = most - 1, .started = kStart};
  EXPECT_EQ(stream.Due(kStart + absl::Hours(24 * 365 * 100)), 1u);
  stream.rate = 1;
  EXPECT_EQ(stream.Due(kStart + absl::Hours(24)), 0u);
  EXPECT_GT(stream.NextDue(), kStart + absl::Hours(24 * 365 * 100));
}

}  // namespace
}  // namespace handoff::server
