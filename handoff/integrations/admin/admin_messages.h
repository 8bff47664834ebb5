#ifndef HANDOFF_INTEGRATIONS_ADMIN_ADMIN_MESSAGES_H_
#define HANDOFF_INTEGRATIONS_ADMIN_ADMIN_MESSAGES_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "proto/admin.pb.h"
#include "proto/handoff.pb.h"

// The library's messages (handoff.v1) as those of the admin endpoint.

namespace handoff {

// Beside v1::Status, what GetStatus tells of a process.
struct ProcessFacts {
  std::string build;
  std::string executable;
  uint64_t last_event = 0;
};

admin::v1::GetStatusResponse ToAdmin(const v1::Status& status,
                                     const ProcessFacts& facts, absl::Time now);
admin::v1::HandoffProgress ToAdmin(const v1::HandoffProgress& progress);
// Without entries.
admin::v1::Handoff ToAdmin(const v1::LedgerHandoff& handoff);
admin::v1::LedgerEntry ToAdmin(const v1::LedgerEntry& entry);
admin::v1::Event ToAdmin(const v1::EventRecord& event);

// The descriptor of `item` with this index; `details`: what the kernel says
// beside what it is.
admin::v1::Descriptor DescriptorOf(const v1::InventoryItem& item, int index,
                                   bool details);
// Without state.
admin::v1::Session SessionOf(const v1::InventoryItem& item, bool details);

google::protobuf::Duration ToProto(absl::Duration duration);
absl::Duration FromProto(const google::protobuf::Duration& duration);

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_ADMIN_MESSAGES_H_
