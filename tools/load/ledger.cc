#include "tools/load/ledger.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "proto/handoff.pb.h"

namespace handoff::load {

absl::StatusOr<LedgerSummary> ParseLedger(absl::string_view json) {
  v1::QueryReply reply;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      absl::StrCat(json), &reply, options);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ledger: ", parsed.ToString()));
  }
  LedgerSummary summary;
  for (const v1::LedgerHandoff& handoff : reply.handoffs()) {
    if (handoff.result() != "committed") {
      ++summary.aborted;
      continue;
    }
    ++summary.committed;
    summary.moved += handoff.moved();
    summary.lost += handoff.lost();
    for (const v1::Blackout& blackout : handoff.blackouts()) {
      summary.blackouts.push_back({blackout.milliseconds(), blackout.sessions(),
                                   handoff.successor_pid()});
    }
  }
  return summary;
}

double BlackoutQuantile(std::vector<BlackoutSample> samples, double share) {
  std::sort(samples.begin(), samples.end(),
            [](const BlackoutSample& a, const BlackoutSample& b) {
              return a.milliseconds < b.milliseconds;
            });
  uint64_t all = 0;
  for (const BlackoutSample& sample : samples) all += sample.sessions;
  uint64_t seen = 0;
  for (const BlackoutSample& sample : samples) {
    seen += sample.sessions;
    if (seen > 0 &&
        static_cast<double>(seen) >= share * static_cast<double>(all)) {
      return sample.milliseconds;
    }
  }
  return 0;
}

}  // namespace handoff::load
