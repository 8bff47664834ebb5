#include "handoff/staged_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/memfd.h"

namespace handoff {

absl::StatusOr<v1::SessionState> StateReader::ReadLarge(
    const StagedInventory::Arrival& arrival) {
  if (arrival.state_memfd != memfd_) {
    Close();
    // One state or several, and a little that encodes them.
    auto mapping = SealedMapping::Map(
        arrival.state_memfd->get(),
        std::max<uint64_t>(limits_.state_bytes, kSharedStateBytes) +
            kBatchBytes);
    if (!mapping.ok()) return mapping.status();
    mapping_ = *std::move(mapping);
    memfd_ = arrival.state_memfd;
  }
  absl::string_view bytes = mapping_->bytes();
  const auto malformed = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("the state of session ", arrival.id, " is malformed"));
  };
  if (arrival.state_at > bytes.size()) return malformed();
  bytes.remove_prefix(arrival.state_at);
  if (arrival.state_size > bytes.size()) return malformed();
  if (arrival.state_size > 0) bytes = bytes.substr(0, arrival.state_size);
  if (bytes.size() > limits_.state_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("state of ", bytes.size(), " bytes: at most ",
                     limits_.state_bytes, " are allowed"));
  }
  v1::SessionState large;
  if (!large.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      static_cast<size_t>(large.descriptors_size()) !=
          arrival.descriptors.size()) {
    return malformed();
  }
  return large;
}

void StateReader::Close() {
  mapping_.reset();
  memfd_.reset();
}

absl::StatusOr<SessionSnapshot> StateReader::Read(
    StagedInventory::Arrival& arrival, uint32_t version) {
  SessionSnapshot snapshot;
  snapshot.version = version;
  snapshot.state.Swap(&arrival.state);
  snapshot.bytes.reserve(arrival.descriptors.size());
  for (StagedInventory::Arrival::Descriptor& d : arrival.descriptors) {
    snapshot.bytes.push_back({d.name, std::move(d.input), std::move(d.output)});
  }
  if (arrival.state_memfd == nullptr) return snapshot;
  absl::StatusOr<v1::SessionState> large = ReadLarge(arrival);
  if (!large.ok()) return large.status();
  snapshot.state.Swap(large->mutable_state());
  for (size_t i = 0; i < snapshot.bytes.size(); ++i) {
    v1::SessionState::Bytes& bytes =
        *large->mutable_descriptors(static_cast<int>(i));
    snapshot.bytes[i].input = std::move(*bytes.mutable_input());
    snapshot.bytes[i].output = std::move(*bytes.mutable_output());
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
  // Whoever froze it goes on only once the word is ABORTED.
  if (session.record.frozen()) return true;
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
