#include "handoff/protocol/in_memory_connection.h"

#include <fcntl.h>

#include <utility>

#include "absl/status/status.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

// Frames that a direction holds; small, so that it fills.
constexpr size_t kQueueFrames = 3;
// What a descriptor that nobody asked for counts to.
constexpr uint64_t kForeignNumber = 3'000;

std::vector<UniqueFd> Duplicate(const std::vector<SharedFd>& fds) {
  std::vector<UniqueFd> duplicates;
  for (const SharedFd& fd : fds) {
    duplicates.emplace_back(::fcntl(fd->get(), F_DUPFD_CLOEXEC, 0));
  }
  return duplicates;
}

void Describe(const std::vector<UniqueFd>& fds, v1::Frame& frame) {
  frame.set_descriptor_count(static_cast<uint32_t>(fds.size()));
  frame.clear_descriptors();
  for (const UniqueFd& fd : fds) {
    v1::DescriptorInfo* info = frame.add_descriptors();
    info->set_kind(v1::DescriptorInfo::EVENTFD);
    info->set_inode(NumberOf(fd.get()));
  }
}

// Only the predecessor knows when it has frozen its sessions. To one that says
// so before it has, nothing can be promised; so no other frame becomes Final.
bool BecameFinal(const std::string& bytes, const v1::Frame& frame) {
  v1::Frame forged;
  return !frame.has_final() && forged.ParseFromString(bytes) &&
         forged.has_final();
}

}  // namespace

bool InMemoryDirection::has_room() const {
  return queue_.size() < kQueueFrames;
}

void InMemoryDirection::Send(OutgoingFrame& frame, FrameFault fault,
                             std::mt19937_64& random) {
  v1::Frame& original = frame.frame;
  original.set_seq(++sent_);
  if (fault == FrameFault::kDrop) return;
  Datagram datagram;
  datagram.descriptors = Duplicate(frame.descriptors);
  Describe(datagram.descriptors, original);
  v1::Frame changed = original;
  const bool any = !datagram.descriptors.empty();
  switch (fault) {
    case FrameFault::kChangeField:
      ChangeSomeField(changed, random);
      break;
    case FrameFault::kOtherBody:
      ChangeBody(changed, random);
      break;
    case FrameFault::kOtherCount:
      changed.set_descriptor_count(changed.descriptor_count() + 1);
      break;
    case FrameFault::kLoseDescriptor:
      if (any) datagram.descriptors.pop_back();
      break;
    case FrameFault::kDescribeAnother:
      if (any) changed.mutable_descriptors(0)->set_inode(kForeignNumber);
      break;
    case FrameFault::kSwapDescriptor:
      if (!any) break;
      datagram.descriptors.back() = NumberedFd(kForeignNumber);
      Describe(datagram.descriptors, changed);
      break;
    default:
      break;
  }
  const std::string sent = original.SerializeAsString();
  datagram.bytes = changed.SerializeAsString();
  if (fault == FrameFault::kFlipBytes) FlipSomeBytes(datagram.bytes, random);
  if (BecameFinal(datagram.bytes, original)) datagram.bytes = sent;
  datagram.forged = datagram.bytes != sent;
  if (fault == FrameFault::kDouble) {
    Datagram again;
    again.bytes = datagram.bytes;
    again.descriptors = Duplicate(frame.descriptors);
    queue_.push_back(std::move(again));
  }
  queue_.push_back(std::move(datagram));
}

absl::StatusOr<InMemoryDirection::Arrived> InMemoryDirection::Receive() {
  Datagram datagram = std::move(queue_.front());
  queue_.pop_front();
  absl::StatusOr<v1::Frame> frame =
      DecodeFrame(datagram.bytes, received_ + 1, datagram.descriptors.size());
  if (!frame.ok()) return frame.status();
  for (int i = 0; i < frame->descriptors_size(); ++i) {
    const v1::DescriptorInfo& said = frame->descriptors(i);
    if (said.kind() != v1::DescriptorInfo::EVENTFD ||
        said.inode() != NumberOf(datagram.descriptors[i].get())) {
      return absl::FailedPreconditionError("a descriptor is not what was said");
    }
  }
  ++received_;
  forged_ = forged_ || datagram.forged;
  return Arrived{*std::move(frame), std::move(datagram.descriptors)};
}

}  // namespace handoff
