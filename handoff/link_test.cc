#include "handoff/link.h"

#include <sys/socket.h>

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

// Writes down what it is told, and sends what it has.
struct Recorder {
  void OnFrame(const v1::Frame& frame, std::vector<UniqueFd>, absl::Time) {
    heard.push_back(std::string(BodyName(frame)));
  }
  void OnBadFrame(v1::Abort::Reason, const absl::Status&, absl::Time) {
    heard.push_back("<bad>");
  }
  void OnPeerClosed(absl::Time) { heard.push_back("<closed>"); }
  void OnPeerDead(absl::Time) { heard.push_back("<dead>"); }
  OutgoingFrame* ToSend() {
    return to_send.empty() ? nullptr : &to_send.front();
  }
  void OnSent(absl::Time) { to_send.pop_front(); }

  std::vector<std::string> heard;
  std::deque<OutgoingFrame> to_send;
};

class LinkTest : public testing::Test {
 protected:
  LinkTest() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ours_ = UniqueFd(ends[0]);
    theirs_ = UniqueFd(ends[1]);
  }

  static absl::StatusOr<Channel> ChannelOf(UniqueFd socket) {
    return Channel::Create(std::move(socket), {});
  }

  static v1::Frame Retire() {
    v1::Frame frame;
    frame.mutable_retire();
    return frame;
  }

  UniqueFd ours_;
  UniqueFd theirs_;
};

TEST_F(LinkTest, APeerIsDeadOnceEverythingThatItSentHasBeenRead) {
  absl::StatusOr<Channel> channel = ChannelOf(std::move(ours_));
  ASSERT_TRUE(channel.ok()) << channel.status();
  ForkedChild child([&] {
    auto peer = ChannelOf(std::move(theirs_));
    v1::Frame first = Retire();
    v1::Frame second = Retire();
    return peer.ok() && peer->Send(first, {}).ok() &&
                   peer->Send(second, {}).ok()
               ? 0
               : 1;
  });
  theirs_.reset();
  // It is dead before anything of it is read.
  ASSERT_EQ(child.Wait(), 0);
  Link link(*std::move(channel), nullptr);
  Recorder machine;
  while (link.Exchange(machine, absl::Now())) {
  }
  EXPECT_EQ(machine.heard, (std::vector<std::string>{"retire", "retire",
                                                     "<closed>", "<dead>"}));
}

TEST_F(LinkTest, APeerWhoseFramesCannotAllBeReadIsNeverDead) {
  absl::StatusOr<Channel> channel = ChannelOf(std::move(ours_));
  ASSERT_TRUE(channel.ok()) << channel.status();
  ForkedChild child([&] {
    // The numbers of the frames after it are right, for whoever would go on.
    v1::Frame first = Retire();
    auto peer = ChannelOf(std::move(theirs_));
    if (!peer.ok() || !peer->Send(first, {}).ok()) return 1;
    if (!SendMessage(peer->fd(), "garbage", {}).ok()) return 2;
    v1::Frame second = Retire();
    return peer->Send(second, {}).ok() ? 0 : 3;
  });
  theirs_.reset();
  ASSERT_EQ(child.Wait(), 0);
  Link link(*std::move(channel), nullptr);
  Recorder machine;
  while (link.Exchange(machine, absl::Now())) {
  }
  EXPECT_EQ(machine.heard,
            (std::vector<std::string>{"retire", "<bad>", "<closed>"}))
      << "a Retire was not read: its sender has not crashed";
  std::vector<pollfd> polled;
  link.AddTo(polled);
  EXPECT_TRUE(polled.empty()) << "its end would be reported for ever";
}

}  // namespace
}  // namespace handoff
