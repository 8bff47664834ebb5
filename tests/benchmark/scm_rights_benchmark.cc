// A message with descriptors, sent, received, and what has come closed.

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/unique_fd.h"
#include "tests/benchmark/part.h"
#include "tests/benchmark/raw_message.h"

namespace handoff {
namespace {

// What a session with little state has.
constexpr size_t kBytesEach = 256;

absl::StatusOr<std::vector<UniqueFd>> MakeEvents(size_t count) {
  std::vector<UniqueFd> events;
  for (size_t i = 0; i < count; ++i) {
    events.emplace_back(::eventfd(0, EFD_CLOEXEC));
    if (!events.back().valid()) return absl::ErrnoToStatus(errno, "eventfd");
  }
  return events;
}

struct Ends {
  std::vector<UniqueFd> events;
  std::vector<int> borrowed;  // of `events`
  SocketPair sockets;
};

absl::StatusOr<Ends> MakeEnds(size_t descriptors) {
  absl::StatusOr<std::vector<UniqueFd>> events = MakeEvents(descriptors);
  if (!events.ok()) return events.status();
  absl::StatusOr<SocketPair> sockets = MakeSocketPair();
  if (!sockets.ok()) return sockets.status();
  Ends ends = {*std::move(events), {}, *std::move(sockets)};
  for (const UniqueFd& event : ends.events) {
    ends.borrowed.push_back(event.get());
  }
  return ends;
}

void Library(size_t descriptors, Measure& measure) {
  const absl::StatusOr<Ends> ends = MakeEnds(descriptors);
  if (!ends.ok()) return measure.Fail(ends.status());
  const std::string bytes(descriptors * kBytesEach, 'x');
  measure.Run([&]() -> absl::Status {
    absl::Status sent =
        SendMessage(ends->sockets.ours.get(), bytes, ends->borrowed);
    if (!sent.ok()) return sent;
    const absl::StatusOr<ReceivedMessage> received =
        ReceiveMessage(ends->sockets.theirs.get());
    if (!received.ok()) return received.status();
    if (received->descriptors.size() != descriptors ||
        received->bytes.size() != bytes.size()) {
      return absl::InternalError("another message than was sent has come");
    }
    return absl::OkStatus();
  });
}

void Raw(size_t descriptors, Measure& measure) {
  const absl::StatusOr<Ends> ends = MakeEnds(descriptors);
  if (!ends.ok()) return measure.Fail(ends.status());
  RawMessage message(descriptors * kBytesEach, ends->borrowed);
  measure.Run([&]() -> absl::Status {
    absl::Status sent = message.Send(ends->sockets.ours.get());
    if (!sent.ok()) return sent;
    const absl::StatusOr<absl::Span<const int>> received =
        message.Receive(ends->sockets.theirs.get());
    if (!received.ok()) return received.status();
    for (const int fd : *received) {
      if (::close(fd) < 0) return absl::ErrnoToStatus(errno, "close");
    }
    return absl::OkStatus();
  });
}

const bool kRegistered = [] {
  for (const size_t descriptors : {1, 16, 252}) {
    const Part part(
        absl::StrCat("scm_rights: a message of ", descriptors,
                     descriptors == 1 ? " descriptor" : " descriptors"),
        "descriptor", static_cast<double>(descriptors));
    part.Handoff([=](Measure& measure) { Library(descriptors, measure); });
    part.Bound("sendmsg, recvmsg, close",
               [=](Measure& measure) { Raw(descriptors, measure); });
  }
  return true;
}();

}  // namespace
}  // namespace handoff
