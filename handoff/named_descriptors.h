#ifndef HANDOFF_NAMED_DESCRIPTORS_H_
#define HANDOFF_NAMED_DESCRIPTORS_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "handoff/batch_builder.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/options.h"
#include "handoff/protocol/staged_inventory.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Which descriptors a process has by name, and where each comes from: its
// predecessor had it, a manager gave it, or it is made. Up to Ready() on the
// service's thread; then claimed() on any one.
class NamedDescriptors {
 public:
  // Borrowed, and outlive it. What is claimed or made is added to `named`.
  NamedDescriptors(const Options* options, std::vector<NamedDescriptor>* named)
      : options_(*options), named_(*named) {}

  // What the predecessor had: borrowed, and read until Finish(). Claims the
  // first, which is the handoff listener.
  void Inherit(const std::vector<StagedInventory::Named>* inherited);

  // As Handoff::Listen() and Handoff::Descriptor().
  absl::StatusOr<int> Listen(absl::string_view name, absl::string_view address);
  absl::StatusOr<int> Descriptor(
      absl::string_view name,
      absl::FunctionRef<absl::StatusOr<UniqueFd>()> make);

  // Whether the predecessor's descriptor of that index was claimed.
  bool claimed(size_t index) const { return claimed_[index]; }
  // The names of which none was claimed; once for each descriptor. Before
  // Finish().
  std::vector<std::string> Unclaimed() const;
  // Nothing more is asked for. Closes what was given and nobody took: it is in
  // nobody's way then.
  void Finish();

 private:
  absl::StatusOr<int> Claim(v1::Descriptors::Role role, absl::string_view name);
  absl::StatusOr<SharedFd> FindGiven(v1::Descriptors::Role role,
                                     absl::string_view name) const;
  bool IsTaken(const GivenDescriptor& given) const;
  int Add(v1::Descriptors::Role role, absl::string_view name,
          absl::string_view address, SharedFd fd);

  const Options& options_;
  std::vector<NamedDescriptor>& named_;
  const std::vector<StagedInventory::Named>* inherited_ = nullptr;
  std::vector<bool> claimed_;  // of inherited_
  // Of ours: a name belongs to listeners or to one other descriptor.
  std::map<std::string, v1::Descriptors::Role> names_;
};

}  // namespace handoff

#endif  // HANDOFF_NAMED_DESCRIPTORS_H_
