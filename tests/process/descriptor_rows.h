#ifndef TESTS_PROCESS_DESCRIPTOR_ROWS_H_
#define TESTS_PROCESS_DESCRIPTOR_ROWS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "handoff/fd/unique_fd.h"
#include "proto/handoff.pb.h"

namespace handoff {

// A kind of descriptor in a handoff, of which two objects live: one in the
// predecessor's process, which makes the descriptor and has the other end, and
// one in the successor, which uses it when the predecessor has closed its copy.
class DescriptorRow {
 public:
  virtual ~DescriptorRow() = default;
  virtual v1::DescriptorInfo::Kind kind() const = 0;
  // `folder` is empty at first, and the test's own.
  virtual UniqueFd Make(const std::string& folder) = 0;
  virtual absl::Status Use(int fd, const std::string& folder) = 0;
  // In the process that made it, where the successor has used it and is there
  // still. SIGUSR1 is blocked in both.
  virtual absl::Status After() { return absl::OkStatus(); }
};

// By a name for the test.
std::map<std::string, std::function<std::unique_ptr<DescriptorRow>()>>
DescriptorRows();

}  // namespace handoff

#endif  // TESTS_PROCESS_DESCRIPTOR_ROWS_H_
