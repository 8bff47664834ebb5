// What an operator asks of a process's groups.

#include "handoff/process.h"
#include "handoff/process_control.h"

namespace handoff {

absl::StatusOr<std::vector<Control::SessionState>> ProcessControl::ReadState(
    absl::Span<const uint64_t>, absl::Time) {
  return absl::UnimplementedError("ReadState");
}

absl::Status ProcessControl::SetAccepting(bool) {
  return absl::UnimplementedError("SetAccepting");
}

absl::StatusOr<Control::Drained> ProcessControl::Drain(
    absl::Span<const uint64_t>, bool, absl::Time) {
  return absl::UnimplementedError("Drain");
}

}  // namespace handoff
