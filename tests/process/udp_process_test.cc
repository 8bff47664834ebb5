// Datagrams to a service that hands over again and again.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/fd/unique_fd.h"
#include "tests/process/udp_service.h"

namespace handoff {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int64_t kPerSecond = 2'000;  // of which they are capable
#else
constexpr int64_t kPerSecond = 20'000;
#endif
// Fewer than a queue holds: what is lost is lost by the service.
constexpr int64_t kMostUnderWay = kPerSecond / 4;

// On a free port of the loopback interface. Invalid where its queue cannot be
// made long enough, which takes CAP_NET_ADMIN.
UniqueFd UdpSocket() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address),
             sizeof(address)) < 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kUdpQueueBytes,
                   sizeof(kUdpQueueBytes)) < 0) {
    socket.reset();
  }
  return socket;
}

// Sends numbers at a steady rate, and counts how often each is answered. In one
// thread, so that the test can fork.
class Numbers {
 public:
  explicit Numbers(int service) : socket_(UdpSocket()) {
    sockaddr_storage address;
    socklen_t length = sizeof(address);
    auto* name = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::getsockname(service, name, &length), 0);
    EXPECT_EQ(::connect(socket_.get(), name, length), 0);
  }

  // Sends what is due, and takes what has come, or comes within a millisecond.
  void Step() {
    const int64_t due =
        absl::ToInt64Milliseconds(absl::Now() - began_) * kPerSecond / 1000;
    while (sent() < due && sent() - answered_ < kMostUnderWay) {
      const int64_t number = sent();
      ASSERT_EQ(::send(socket_.get(), &number, sizeof(number), 0), 8);
      answers_.push_back(0);
    }
    Take();
  }
  // Takes what is outstanding.
  void Finish() {
    const absl::Time deadline = absl::Now() + kPatience;
    while (answered_ < sent() && absl::Now() < deadline) Take();
    Take();
  }

  int64_t sent() const { return static_cast<int64_t>(answers_.size()); }
  double rate() const {
    return static_cast<double>(sent()) /
           absl::ToDoubleSeconds(absl::Now() - began_);
  }
  int64_t Answered(bool (*how)(int)) const {
    return std::count_if(answers_.begin(), answers_.end(), how);
  }

 private:
  void Take() {
    pollfd events = {socket_.get(), POLLIN, 0};
    if (::poll(&events, 1, 1) != 1) return;
    int64_t number = -1;
    while (::recv(socket_.get(), &number, sizeof(number), MSG_DONTWAIT) == 8) {
      ASSERT_GE(number, 0);
      ASSERT_LT(number, sent());
      ++answers_[static_cast<size_t>(number)];
      ++answered_;
    }
  }

  const UniqueFd socket_;
  const absl::Time began_ = absl::Now();
  std::vector<int> answers_;  // by number
  int64_t answered_ = 0;
};

class Service {
 public:
  Service(const TempFolder& folder, int socket) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    ready_.reset(ends[0]);
    const UniqueFd write_end(ends[1]);
    child_ = std::make_unique<ForkedChild>(
        [&] { return RunUdpService(folder / "s", socket, write_end.get()); });
  }
  bool Ready() const { return Readable(ready_.get()); }
  bool Ended() const { return Readable(child_->pidfd()); }
  int Wait() { return child_->Wait(); }

 private:
  static bool Readable(int fd) {
    pollfd events = {fd, POLLIN, 0};
    return ::poll(&events, 1, 0) == 1;
  }
  UniqueFd ready_;
  std::unique_ptr<ForkedChild> child_;
};

TEST(UdpProcessTest, NoDatagramIsLostOrAnsweredTwiceInTenHandoffs) {
  const TempFolder folder;
  UniqueFd socket = UdpSocket();
  if (!socket) GTEST_SKIP() << "a long receive queue takes CAP_NET_ADMIN";
  Numbers numbers(socket.get());
  const auto until = [&](const auto& condition) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (!condition() && absl::Now() < deadline) numbers.Step();
    return condition();
  };
  auto serving = std::make_unique<Service>(folder, socket.get());
  ASSERT_TRUE(until([&] { return serving->Ready(); }));
  socket.reset();  // the service's alone

  for (int i = 0; i < 10; ++i) {
    const int64_t before = numbers.sent();
    // Some under way in front of each.
    ASSERT_TRUE(
        until([&] { return numbers.sent() > before + kPerSecond / 10; }));
    auto successor = std::make_unique<Service>(folder, -1);
    ASSERT_TRUE(until([&] { return serving->Ended(); })) << "handoff " << i;
    EXPECT_EQ(serving->Wait(), 0) << "handoff " << i;
    ASSERT_TRUE(until([&] { return successor->Ready(); }));
    serving = std::move(successor);
  }
  const double rate = numbers.rate();
  numbers.Finish();
  EXPECT_EQ(numbers.Answered([](int times) { return times == 0; }), 0)
      << "lost, of " << numbers.sent();
  EXPECT_EQ(numbers.Answered([](int times) { return times > 1; }), 0)
      << "answered twice, of " << numbers.sent();
  // What the machine had time for, at most kPerSecond.
  RecordProperty("sent", static_cast<int>(numbers.sent()));
  RecordProperty("per_second", static_cast<int>(rate));
}

}  // namespace
}  // namespace handoff
