#ifndef HANDOFF_NAMED_DESCRIPTORS_H_
#define HANDOFF_NAMED_DESCRIPTORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "handoff/batch_builder.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/handoff.h"
#include "handoff/options.h"
#include "handoff/protocol/staged_inventory.h"
#include "handoff/reporter.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Which descriptors a process has by name, and where each comes from: its
// predecessor had it, a manager gave it, or it is made. Up to Ready() on the
// service's thread; then claimed() on any one.
class NamedDescriptors {
 public:
  // Borrowed, and outlive it. What is claimed or made is added to `named`.
  NamedDescriptors(const Options* options, const Reporter* report,
                   std::vector<NamedDescriptor>* named)
      : options_(*options), report_(*report), named_(*named) {}

  // What the predecessor had: borrowed, and read until Finish(). Claims the
  // first, which is the handoff listener.
  void Inherit(const std::vector<StagedInventory::Named>* inherited);

  // As the calls of Handoff.
  absl::StatusOr<int> Listen(absl::string_view name, absl::string_view address);
  absl::StatusOr<Handoff::Shards> ListenSharded(absl::string_view name,
                                                absl::string_view address,
                                                int workers);
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
  // Once nobody can be told any more that this process does not take over: what
  // was bound beside the listeners that were there begins to listen. Cannot
  // fail.
  void BeginListening(uint64_t handoff_id);

 private:
  // Bound beside a listener that was there before.
  struct Shard {
    SharedFd fd;
    SharedFd beside;
  };

  absl::StatusOr<int> Claim(v1::Descriptors::Role role, absl::string_view name);
  absl::StatusOr<SharedFd> FindGiven(v1::Descriptors::Role role,
                                     absl::string_view name) const;
  absl::Status BindShards(absl::string_view name, absl::string_view address,
                          int workers);
  void AddShards(std::vector<SharedFd>& at_one_address, absl::string_view name,
                 size_t workers);
  bool IsTaken(const GivenDescriptor& given) const;
  int Add(v1::Descriptors::Role role, absl::string_view name,
          absl::string_view address, SharedFd fd);

  const Options& options_;
  const Reporter& report_;
  std::vector<NamedDescriptor>& named_;
  const std::vector<StagedInventory::Named>* inherited_ = nullptr;
  std::vector<bool> claimed_;  // of inherited_
  // Of ours: a name belongs to listeners or to one other descriptor.
  std::map<std::string, v1::Descriptors::Role> names_;
  std::set<std::string> sharded_;  // of names_
  std::vector<Shard> shards_;      // that do not listen yet
};

}  // namespace handoff

#endif  // HANDOFF_NAMED_DESCRIPTORS_H_
