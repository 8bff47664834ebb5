#include "server/stream.h"

#include <algorithm>

#include "absl/numeric/int128.h"

namespace handoff::server {
namespace {

constexpr uint64_t kMultiplier = 2654435761;
constexpr uint64_t kNanos = 1'000'000'000;
constexpr uint64_t kWritesPerSecond = 100;

}  // namespace

void FillStream(uint64_t first, absl::Span<char> to) {
  uint64_t product = first * kMultiplier;
  for (char& byte : to) {
    byte = static_cast<char>(product >> 13 & 0xff);
    product += kMultiplier;
  }
}

uint64_t Stream::Due(absl::Time now) const {
  const uint64_t left = total - offset;
  if (rate == 0) return left;
  const int64_t elapsed = absl::ToInt64Nanoseconds(now - started);
  if (elapsed <= 0) return 0;
  const absl::uint128 allowed =
      absl::uint128(static_cast<uint64_t>(elapsed)) * rate / kNanos;
  if (allowed <= offset) return 0;
  return static_cast<uint64_t>(std::min<absl::uint128>(allowed - offset, left));
}

absl::Time Stream::NextDue() const {
  if (rate == 0) return started;
  const uint64_t step = std::max<uint64_t>(1, rate / kWritesPerSecond);
  const uint64_t until = offset + std::min(step, total - offset);
  // Rounded up, so that the bytes are due when the time has come.
  const absl::uint128 nanos =
      (absl::uint128(until) * kNanos + (rate - 1)) / rate;
  constexpr uint64_t kForever = uint64_t{1} << 62;
  return started + absl::Nanoseconds(static_cast<int64_t>(static_cast<uint64_t>(
                       std::min<absl::uint128>(nanos, kForever))));
}

}  // namespace handoff::server
