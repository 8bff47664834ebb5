#include "handoff/batch_builder.h"

#include <memory>
#include <utility>

#include "handoff/fd/memfd.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/protocol/settings.h"

namespace handoff {
namespace {

// What a descriptor's DescriptorInfo adds to a frame, at most: two Unix paths.
constexpr size_t kDescriptorBytes = 300;

}  // namespace

absl::string_view CategoryOf(v1::Descriptors::Role role) {
  switch (role) {
    case v1::Descriptors::HANDOFF_LISTENER: return "handoff-listener";
    case v1::Descriptors::LISTENER: return "listener";
    default: return "descriptor";
  }
}

OutgoingFrame& BatchBuilder::Room(v1::Frame::BodyCase body, size_t bytes,
                                  size_t descriptors) {
  bytes += descriptors * kDescriptorBytes;
  if (frames_.empty() || frames_.back().frame.body_case() != body ||
      bytes_ + bytes > kBatchBytes ||
      frames_.back().descriptors.size() + descriptors >
          kMaxDescriptorsPerMessage) {
    frames_.emplace_back();
    bytes_ = 0;
  }
  bytes_ += bytes;
  return frames_.back();
}

void BatchBuilder::AddDescriptor(const NamedDescriptor& named) {
  OutgoingFrame& out = Room(v1::Frame::kDescriptorsBatch,
                            named.name.size() + named.address.size() + 16, 1);
  v1::Descriptors::Entry* entry =
      out.frame.mutable_descriptors_batch()->add_entries();
  entry->set_role(named.role);
  entry->set_name(named.name);
  entry->set_address(named.address);
  out.descriptors.push_back(named.fd);
}

absl::Status BatchBuilder::AddBlob(absl::string_view name,
                                   google::protobuf::Any value) {
  const size_t bytes = value.ByteSizeLong();
  SharedFd memfd;
  if (bytes > kInlineStateBytes) {
    auto made = MakeSealedMemfd("handoff-blob", value.SerializeAsString());
    if (!made.ok()) return made.status();
    memfd = std::make_shared<UniqueFd>(*std::move(made));
  }
  OutgoingFrame& out =
      Room(v1::Frame::kBlobs, name.size() + 16 + (memfd ? 0 : bytes),
           memfd ? 1 : 0);
  v1::Blobs::Entry* entry = out.frame.mutable_blobs()->add_entries();
  entry->set_name(std::string(name));
  if (memfd) {
    out.descriptors.push_back(std::move(memfd));
    entry->set_value_in(static_cast<uint32_t>(out.descriptors.size()));
  } else {
    *entry->mutable_value() = std::move(value);
  }
  return absl::OkStatus();
}

void BatchBuilder::AddSession(GroupSnapshot::Item item) {
  OutgoingFrame& out = Room(v1::Frame::kSessions, item.record.ByteSizeLong() + 8,
                            item.descriptors.size());
  const uint32_t base = static_cast<uint32_t>(out.descriptors.size());
  for (v1::SessionDescriptor& d : *item.record.mutable_descriptors()) {
    if (d.sent_in() != 0) d.set_sent_in(base + d.sent_in());
  }
  if (item.record.state_in() != 0) {
    item.record.set_state_in(base + item.record.state_in());
  }
  *out.frame.mutable_sessions()->add_records() = std::move(item.record);
  for (SharedFd& fd : item.descriptors) {
    out.descriptors.push_back(std::move(fd));
  }
}

void BatchBuilder::AddKept(const v1::KeptSession& kept) {
  OutgoingFrame& out =
      Room(v1::Frame::kSessions, kept.ByteSizeLong() + 8, 0);
  *out.frame.mutable_sessions()->add_kept() = kept;
}

void BatchBuilder::AddClosed(uint64_t session) {
  Room(v1::Frame::kSessions, 10, 0).frame.mutable_sessions()->add_closed(
      session);
}

std::vector<OutgoingFrame> BatchBuilder::Take() {
  bytes_ = 0;
  return std::exchange(frames_, {});
}

}  // namespace handoff
