#include "tests/process/hostile_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/fd/scm_rights.h"

namespace handoff::toy {
namespace {

// What an attack may leave behind in the allocator of the service, which a
// sanitizer's quarantine is part of. Hundreds of frames of 128 KiB are more.
constexpr int64_t kSlackKilobytes = 64 * 1024;

int64_t ResidentKilobytes(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string line;
  int64_t kilobytes = -1;
  while (std::getline(status, line)) {
    absl::string_view rest = line;
    if (!absl::ConsumePrefix(&rest, "VmRSS:")) continue;
    absl::ConsumeSuffix(&rest, " kB");
    (void)absl::SimpleAtoi(rest, &kilobytes);
  }
  return kilobytes;
}

}  // namespace

HostilePeer::HostilePeer(UniqueFd socket) {
  auto channel = Channel::Create(std::move(socket), {});
  EXPECT_TRUE(channel.ok()) << channel.status();
  if (channel.ok()) channel_ = *std::move(channel);
  auto pidfd = OwnPidfd();
  EXPECT_TRUE(pidfd.ok()) << pidfd.status();
  if (pidfd.ok()) pidfd_ = *std::move(pidfd);
}

int HostilePeer::fd() const { return channel_->fd(); }

void HostilePeer::Send(v1::Frame frame, absl::Span<const int> descriptors,
                       const std::function<void(v1::Frame&)>& tamper) {
  frame.set_seq(++sent_);
  frame.set_descriptor_count(static_cast<uint32_t>(descriptors.size()));
  for (const int fd : descriptors) {
    auto info = DescribeDescriptor(fd);
    EXPECT_TRUE(info.ok()) << info.status();
    if (info.ok()) *frame.add_descriptors() = *std::move(info);
  }
  if (tamper) tamper(frame);
  const absl::Status sent =
      SendMessage(fd(), frame.SerializeAsString(), descriptors);
  EXPECT_TRUE(sent.ok()) << sent;
}

void HostilePeer::SendBytes(const std::string& bytes) {
  EXPECT_EQ(::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

v1::Frame HostilePeer::Receive() {
  while (true) {
    auto frame = channel_->ReceiveBefore(absl::Now() + kPatience);
    if (!frame.ok()) {
      ADD_FAILURE() << frame.status();
      return {};
    }
    if (!frame->frame.has_batch_ack()) return std::move(frame->frame);
  }
}

std::string HostilePeer::Verdict() {
  while (true) {
    auto frame = channel_->ReceiveBefore(absl::Now() + kPatience);
    if (!frame.ok()) {
      return absl::IsOutOfRange(frame.status()) ? "<end>"
                                                : frame.status().ToString();
    }
    if (frame->frame.has_refuse()) {
      const v1::Refuse& refuse = frame->frame.refuse();
      return absl::StrCat(v1::Refuse::Reason_Name(refuse.reason()), ": ",
                          refuse.detail());
    }
    if (frame->frame.has_abort()) {
      const v1::Abort& abort = frame->frame.abort();
      return absl::StrCat(v1::Abort::Reason_Name(abort.reason()), ": ",
                          abort.detail());
    }
  }
}

UniqueFd ConnectToPath(const std::string& path) {
  UniqueFd socket(
      ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address),
                sizeof(address)) == 0) {
    return socket;
  }
  EXPECT_EQ(errno, EAGAIN) << path;
  return UniqueFd();
}

SteadyClient::SteadyClient(int port) : client_(port) {
  thread_ = std::thread([this] {
    do {
      const std::string line = absl::StrCat("echo ", answers_);
      const std::string answer = client_.Ask(line);
      if (answer == line) {
        ++answers_;
      } else {
        wrong_ = absl::StrCat("\"", answer, "\" to \"", line, "\"");
      }
    } while (!quit_ && wrong_.empty());
  });
}

SteadyClient::~SteadyClient() {
  quit_ = true;
  thread_.join();
  EXPECT_EQ(wrong_, "") << "after " << answers_ << " answers";
  EXPECT_GT(answers_, 0);
}

Footprint::Footprint(pid_t pid)
    : pid_(pid),
      descriptors_(DescriptorTable(pid)),
      kilobytes_(ResidentKilobytes(pid)) {}

void Footprint::ExpectUnchanged() const {
  EXPECT_EQ(SettledTable(pid_, descriptors_), descriptors_);
  EXPECT_GT(kilobytes_, 0);
  EXPECT_LT(ResidentKilobytes(pid_), kilobytes_ + kSlackKilobytes);
}

}  // namespace handoff::toy
