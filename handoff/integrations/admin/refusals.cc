#include "handoff/integrations/admin/refusals.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace handoff {
namespace {

constexpr absl::Duration kBetween = absl::Seconds(1);

}  // namespace

void Refusals::Note(absl::string_view who, absl::string_view what) {
  uint64_t others = 0;
  {
    std::lock_guard<std::mutex> lock(mu_);
    const absl::Time now = absl::Now();
    if (now - told_at_ < kBetween) {
      ++untold_;
      return;
    }
    told_at_ = now;
    others = std::exchange(untold_, 0);
  }
  control_.Audit(absl::StrCat(
      who, ": ", what,
      others == 0 ? "" : absl::StrCat("; ", others, " refusals before it")));
}

}  // namespace handoff
