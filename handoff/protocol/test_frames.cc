#include "handoff/protocol/test_frames.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "handoff/protocol/frame.h"

namespace handoff {

Deadlines DistinctDeadlines() {
  Deadlines d;
  d.hello = absl::Milliseconds(2'001);
  d.frame = absl::Milliseconds(5'002);
  d.staging = absl::Milliseconds(60'004);
  d.quiesce = absl::Milliseconds(1'008);
  d.frozen = absl::Milliseconds(3'016);
  d.released = absl::Milliseconds(4'032);
  d.watch = absl::Milliseconds(10'064);
  return d;
}

v1::Frame HelloFrame() {
  v1::Frame frame;
  v1::Hello* hello = frame.mutable_hello();
  hello->set_lowest_protocol(kLowestProtocol);
  hello->set_highest_protocol(kHighestProtocol);
  hello->set_label("new");
  hello->set_descriptor_headroom(1'000);
  v1::StateType* reads = hello->add_reads();
  reads->set_name("chat");
  reads->set_lowest(1);
  reads->set_highest(3);
  return frame;
}

v1::Frame OfferFrame() {
  v1::Frame frame;
  v1::Offer* offer = frame.mutable_offer();
  offer->set_protocol(kHighestProtocol);
  offer->set_handoff_id(42);
  offer->set_generation(7);
  offer->set_label("old");
  offer->set_descriptors(2);
  offer->set_sessions(3);
  offer->set_descriptors_total(100);
  v1::NegotiatedType* writes = offer->add_writes();
  writes->set_name("chat");
  writes->set_version(2);
  return frame;
}

std::vector<NamedFrame> EveryFrame() {
  std::vector<NamedFrame> frames;
  const google::protobuf::OneofDescriptor* bodies =
      v1::Frame::descriptor()->FindOneofByName("body");
  for (int i = 0; i < bodies->field_count(); ++i) {
    v1::Frame frame;
    frame.GetReflection()->MutableMessage(&frame, bodies->field(i));
    if (frame.has_hello()) frame = HelloFrame();
    if (frame.has_offer()) frame = OfferFrame();
    if (frame.has_abort()) {
      frame.mutable_abort()->set_reason(v1::Abort::STOPPED);
      frame.mutable_abort()->set_detail("no longer wanted");
    }
    if (frame.has_refuse()) {
      frame.mutable_refuse()->set_reason(v1::Refuse::BUSY);
      frame.mutable_refuse()->set_detail("another handoff goes on");
    }
    const std::string name(BodyName(frame));
    frames.push_back({name, std::move(frame)});
  }
  frames.push_back({"unknown", v1::Frame()});
  v1::Frame must;
  must.set_must_understand(true);
  frames.push_back({"unknown, must understand", must});
  return frames;
}

UniqueFd NumberedFd(uint64_t number) {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (::write(fd.get(), &number, sizeof(number)) != sizeof(number)) fd.reset();
  return fd;
}

std::vector<UniqueFd> NumberedFds(const std::vector<uint64_t>& numbers) {
  std::vector<UniqueFd> fds;
  for (const uint64_t number : numbers) fds.push_back(NumberedFd(number));
  return fds;
}

SharedFd SharedNumberedFd(uint64_t number) {
  return std::make_shared<UniqueFd>(NumberedFd(number));
}

uint64_t NumberOf(int fd) {
  uint64_t number = 0;
  if (::read(fd, &number, sizeof(number)) != sizeof(number)) return 0;
  // Reading an eventfd takes its count.
  if (::write(fd, &number, sizeof(number)) != sizeof(number)) return 0;
  return number;
}

}  // namespace handoff
