// What an operator asks of a process.

#include "handoff/process_control.h"

#include <unistd.h>

#include <mutex>
#include <utility>

#include "absl/time/clock.h"
#include "handoff/fd/open_descriptors.h"
#include "handoff/process.h"

namespace handoff {

v1::Status ProcessControl::GetStatus() const {
  const Process& process = *process_;
  v1::Status status;
  status.set_pid(::getpid());
  status.set_generation(process.generation_);
  status.set_label(process.options_.label);
  status.set_uptime_seconds(
      absl::ToDoubleSeconds(absl::Now() - process.started_));
  status.set_blobs(process.belongings_.blobs.size());
  for (const NamedDescriptor& named : process.belongings_.named) {
    if (named.role == v1::Descriptors::LISTENER) {
      status.set_listeners(status.listeners() + 1);
    } else if (named.role == v1::Descriptors::OTHER) {
      status.set_descriptors(status.descriptors() + 1);
    }
  }
  const OpenDescriptors open = CountOpenDescriptors();
  status.set_open_descriptors(open.count);
  status.set_descriptor_limit(open.limit);
  status.set_sessions(process.roster_.size());
  if (auto last = process.ledger_.Last(); last.has_value()) {
    *status.mutable_last_handoff() = *std::move(last);
  }
  status.set_accepting(true);
  std::lock_guard<std::mutex> lock(process.mu_);
  status.set_state(process.state_);
  return status;
}

v1::Ledger ProcessControl::GetLedger() const { return process_->ledger_.Get(); }

std::vector<v1::InventoryItem> ProcessControl::GetInventory() const {
  std::vector<v1::InventoryItem> items;
  for (const NamedDescriptor& named : process_->belongings_.named) {
    if (named.role == v1::Descriptors::HANDOFF_LISTENER) {
      // The one that the library's thread may close: LetGoOfThePath().
      std::lock_guard<std::mutex> lock(process_->mu_);
      if (*named.fd) items.push_back(DescribeNamed(named));
      continue;
    }
    items.push_back(DescribeNamed(named));
  }
  for (const Belongings::Blob& blob : process_->belongings_.blobs) {
    items.push_back(DescribeBlob(blob.name));
  }
  for (v1::InventoryItem& item : process_->roster_.Inventory()) {
    items.push_back(std::move(item));
  }
  return items;
}

const EventLog& ProcessControl::events() const { return process_->events_; }

void ProcessControl::Audit(absl::string_view) {}

absl::Status ProcessControl::StartSuccessor(const std::string&) {
  return absl::UnimplementedError("StartSuccessor");
}

absl::Status ProcessControl::Abort(absl::string_view, absl::Time) {
  return absl::UnimplementedError("Abort");
}

absl::Status ProcessControl::Lock(absl::string_view, absl::Time) {
  return absl::UnimplementedError("Lock");
}

absl::Status ProcessControl::Unlock() {
  return absl::UnimplementedError("Unlock");
}

}  // namespace handoff
