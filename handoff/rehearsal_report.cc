#include "handoff/rehearsal_report.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "handoff/fd/scm_rights.h"

namespace handoff {
namespace {

// A name and a reason of the greatest length have room above it.
constexpr size_t kMaxListedBytes = 120'000;

}  // namespace

absl::Status SendReport(int socket, v1::LedgerHandoff report) {
  google::protobuf::RepeatedPtrField<v1::LedgerEntry> entries;
  entries.Swap(report.mutable_entries());
  report.clear_moved_sessions();
  size_t bytes = report.ByteSizeLong();
  std::stable_partition(entries.begin(), entries.end(),
                        [](const v1::LedgerEntry& entry) {
                          return entry.outcome() == v1::LedgerEntry::REFUSED;
                        });
  for (v1::LedgerEntry& entry : entries) {
    if (entry.outcome() == v1::LedgerEntry::MOVED) continue;
    bytes += entry.ByteSizeLong() + 8;  // and what goes in front of it
    if (bytes > kMaxListedBytes) break;
    *report.add_entries() = std::move(entry);
  }
  return SendMessage(socket, report.SerializeAsString(), {});
}

absl::StatusOr<v1::LedgerHandoff> ReceiveReport(int socket, absl::Time deadline,
                                                int give_up) {
  while (true) {
    pollfd polled[] = {{socket, POLLIN, 0}, {give_up, POLLIN, 0}};
    const int64_t left = absl::ToInt64Milliseconds(
        absl::Ceil(deadline - absl::Now(), absl::Milliseconds(1)));
    const int ready = ::poll(
        polled, 2, static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000)));
    if (ready < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "poll");
    if (ready == 0 && absl::Now() >= deadline) {
      return absl::DeadlineExceededError("no report in time");
    }
    if (ready <= 0) continue;
    if (polled[1].revents != 0) return absl::CancelledError("given up");
    auto message = ReceiveMessage(socket);
    if (absl::IsUnavailable(message.status())) continue;
    if (absl::IsOutOfRange(message.status()) ||
        absl::IsAborted(message.status())) {
      return absl::NotFoundError("closed without a report");
    }
    if (!message.ok()) return message.status();
    v1::LedgerHandoff report;
    if (!report.ParseFromArray(message->bytes.data(),
                               static_cast<int>(message->bytes.size())) ||
        (report.result() != "passed" && report.result() != "failed")) {
      return absl::InvalidArgumentError("the report is malformed");
    }
    return report;
  }
}

}  // namespace handoff
