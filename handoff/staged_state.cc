#include "handoff/staged_state.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/memfd.h"

namespace handoff {

absl::StatusOr<SessionSnapshot> DecodeSession(
    const StagedInventory::Session& session, uint32_t version,
    const Limits& limits) {
  const v1::SessionRecord& record = session.record;
  SessionSnapshot snapshot;
  snapshot.version = version;
  v1::SessionState large;
  if (session.state_memfd != nullptr) {
    auto bytes =
        ReadSealedMemfd(session.state_memfd->get(), limits.state_bytes);
    if (!bytes.ok()) return bytes.status();
    if (!large.ParseFromString(*bytes) ||
        large.descriptors_size() != record.descriptors_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the state of session ", record.id(), " is malformed"));
    }
  }
  snapshot.state = session.state_memfd ? large.state() : record.state();
  for (int i = 0; i < record.descriptors_size(); ++i) {
    const v1::SessionDescriptor& d = record.descriptors(i);
    if (session.state_memfd != nullptr) {
      snapshot.bytes.push_back({d.name(), large.descriptors(i).input(),
                                large.descriptors(i).output()});
    } else {
      snapshot.bytes.push_back({d.name(), d.input(), d.output()});
    }
  }
  return snapshot;
}

absl::StatusOr<google::protobuf::Any> DecodeBlob(
    const StagedInventory::Blob& blob, const Limits& limits) {
  if (blob.memfd == nullptr) return blob.value;
  auto bytes = ReadSealedMemfd(blob.memfd->get(), limits.state_bytes);
  if (!bytes.ok()) return bytes.status();
  google::protobuf::Any value;
  if (!value.ParseFromString(*bytes)) {
    return absl::InvalidArgumentError("a blob is malformed");
  }
  return value;
}

bool Untouched(const StagedInventory::Session& session) {
  bool counted = false;
  for (int i = 0; i < session.record.descriptors_size(); ++i) {
    const v1::SessionDescriptor& d = session.record.descriptors(i);
    const int fd = session.descriptors[i]->get();
    if (!d.has_counters()) {
      // What may have been read from it, nobody can tell; a file keeps it.
      const auto info = DescribeDescriptor(fd);
      if (info.ok() && (info->kind() == v1::DescriptorInfo::FILE ||
                        info->kind() == v1::DescriptorInfo::MEMFD)) {
        continue;
      }
      return false;
    }
    const auto now = ReadTcpCounters(fd);
    if (!now.ok() || now->consumed() != d.counters().consumed() ||
        now->written() != d.counters().written()) {
      return false;
    }
    counted = true;
  }
  return counted;
}

}  // namespace handoff
