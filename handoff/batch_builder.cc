#include "handoff/batch_builder.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "google/protobuf/io/zero_copy_stream_impl.h"
#include "handoff/fd/memfd.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/protocol/settings.h"

namespace handoff {
namespace {

// What a descriptor's DescriptorInfo adds to a frame, at most: two Unix paths.
constexpr size_t kDescriptorBytes = 300;

// What is written to it at once.
constexpr int kBlockBytes = 256 << 10;

// Of a record, what could go into a memfd.
size_t StateBytes(const v1::SessionRecord& record) {
  size_t bytes = record.state().ByteSizeLong();
  for (const v1::SessionDescriptor& d : record.descriptors()) {
    bytes += d.input().size() + d.output().size();
  }
  return bytes;
}

// Takes the state out of `record`.
v1::SessionState TakeState(v1::SessionRecord& record) {
  v1::SessionState state;
  state.mutable_state()->Swap(record.mutable_state());
  record.clear_state();
  for (v1::SessionDescriptor& d : *record.mutable_descriptors()) {
    v1::SessionState::Bytes* bytes = state.add_descriptors();
    bytes->mutable_input()->swap(*d.mutable_input());
    bytes->mutable_output()->swap(*d.mutable_output());
    d.clear_input();
    d.clear_output();
  }
  return state;
}

// Moves the states of the records that `large` names into one memfd, the last
// descriptor of the frame.
absl::Status MoveStates(OutgoingFrame& out, const std::vector<int>& large) {
  absl::StatusOr<UniqueFd> memfd = MakeMemfd("handoff-sessions");
  if (!memfd.ok()) return memfd.status();
  {
    google::protobuf::io::FileOutputStream stream(memfd->get(), kBlockBytes);
    uint64_t at = 0;
    for (const int i : large) {
      v1::SessionRecord& record =
          *out.frame.mutable_sessions()->mutable_records(i);
      const v1::SessionState state = TakeState(record);
      const size_t size = state.ByteSizeLong();
      state.SerializeToZeroCopyStream(&stream);
      record.set_state_in(static_cast<uint32_t>(out.descriptors.size() + 1));
      record.set_state_at(at);
      record.set_state_size(size);
      at += size;
    }
    stream.Flush();
    if (stream.GetErrno() != 0) {
      return absl::ErrnoToStatus(stream.GetErrno(), "write to a memfd");
    }
  }
  absl::Status sealed = SealMemfd(memfd->get());
  if (!sealed.ok()) return sealed;
  out.descriptors.push_back(std::make_shared<UniqueFd>(*std::move(memfd)));
  return absl::OkStatus();
}

}  // namespace

absl::string_view CategoryOf(v1::Descriptors::Role role) {
  switch (role) {
    case v1::Descriptors::HANDOFF_LISTENER: return "handoff-listener";
    case v1::Descriptors::LISTENER: return "listener";
    default: return "descriptor";
  }
}

OutgoingFrame& BatchBuilder::Room(v1::Frame::BodyCase body, size_t bytes,
                                  size_t descriptors, size_t state_bytes) {
  // One descriptor is left for the memfd.
  if (frames_.empty() || frames_.back().frame.body_case() != body ||
      bytes_ + bytes > kBatchBytes ||
      frames_.back().descriptors.size() + descriptors >=
          kMaxDescriptorsPerMessage ||
      (state_bytes_ > 0 && state_bytes_ + state_bytes > kSharedStateBytes)) {
    Close();
    frames_.emplace_back();
  }
  bytes_ += bytes;
  state_bytes_ += state_bytes;
  return frames_.back();
}

void BatchBuilder::Close() {
  if (!large_.empty() && status_.ok()) {
    status_ = MoveStates(frames_.back(), large_);
  }
  bytes_ = state_bytes_ = 0;
  large_.clear();
}

void BatchBuilder::AddDescriptor(const NamedDescriptor& named) {
  OutgoingFrame& out =
      Room(v1::Frame::kDescriptorsBatch,
           named.name.size() + named.address.size() + 16 + kDescriptorBytes, 1);
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
  OutgoingFrame& out = Room(
      v1::Frame::kBlobs, name.size() + 16 + (memfd ? kDescriptorBytes : bytes),
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
  const size_t state_bytes = StateBytes(item.record);
  const bool large = state_bytes > kInlineStateBytes;
  size_t bytes = item.record.ByteSizeLong() + 8;
  // What is said of it there, and what goes away, by the byte.
  if (large) bytes = bytes - std::min(bytes, state_bytes) + 32;
  for (const v1::DescriptorInfo& info : item.infos) {
    bytes += info.ByteSizeLong() + 8;
  }
  OutgoingFrame& out = Room(v1::Frame::kSessions, bytes,
                            item.descriptors.size(), large ? state_bytes : 0);
  const uint32_t base = static_cast<uint32_t>(out.descriptors.size());
  for (v1::SessionDescriptor& d : *item.record.mutable_descriptors()) {
    if (d.sent_in() != 0) d.set_sent_in(base + d.sent_in());
  }
  v1::Sessions& sessions = *out.frame.mutable_sessions();
  if (large) large_.push_back(sessions.records_size());
  sessions.add_records()->Swap(&item.record);
  for (size_t i = 0; i < item.descriptors.size(); ++i) {
    out.descriptors.push_back(std::move(item.descriptors[i]));
    out.frame.add_descriptors()->Swap(&item.infos[i]);
  }
  out.described = out.descriptors.size();
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

absl::StatusOr<std::vector<OutgoingFrame>> BatchBuilder::Take() {
  Close();
  std::vector<OutgoingFrame> frames = std::exchange(frames_, {});
  if (!status_.ok()) return status_;
  return frames;
}

}  // namespace handoff
