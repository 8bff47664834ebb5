// What Options::given does: a Handoff takes what it was given by name.

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/handoff.h"
#include "handoff/transport/listen.h"

namespace handoff {
namespace {

constexpr char kAnyPort[] = "tcp:127.0.0.1:0";

// As a manager's: without O_NONBLOCK.
GivenDescriptor Listener(const std::string& name) {
  auto listener = BindListener(kAnyPort);
  EXPECT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(::fcntl(listener->get(), F_SETFL, 0), 0);
  return {name, std::make_shared<UniqueFd>(*std::move(listener))};
}

GivenDescriptor File(const std::string& name) {
  return {name, std::make_shared<UniqueFd>(::open("/dev/null", O_RDONLY))};
}

class GivenTest : public testing::Test {
 protected:
  std::unique_ptr<Handoff> Start(std::vector<GivenDescriptor> given) {
    Options options;
    options.path = folder_ / "h";
    options.given = std::move(given);
    auto started = Handoff::Start(std::move(options));
    EXPECT_TRUE(started.ok()) << started.status();
    return *std::move(started);
  }

  TempFolder folder_;
};

absl::StatusOr<UniqueFd> MakeNothing() {
  return absl::InternalError("nothing was to be made");
}

TEST_F(GivenTest, AListenerIsTakenByItsNameAndNothingIsBound) {
  const GivenDescriptor http = Listener("http");
  const GivenDescriptor other = Listener("other");
  const auto handoff = Start({other, http});
  const auto taken = handoff->Listen("http", "tcp:no address");
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(*taken, http.fd->get());
  EXPECT_NE(::fcntl(*taken, F_GETFL) & O_NONBLOCK, 0);
  const auto bound = handoff->Listen("more", kAnyPort);
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_NE(*bound, other.fd->get());
}

TEST_F(GivenTest, SeveralOfOneNameAreTakenInTheirOrder) {
  const GivenDescriptor first = Listener("http");
  const GivenDescriptor second = Listener("http");
  const auto handoff = Start({first, Listener("other"), second});
  EXPECT_EQ(handoff->Listen("http", kAnyPort).value(), first.fd->get());
  EXPECT_EQ(handoff->Listen("http", kAnyPort).value(), second.fd->get());
  const int third = handoff->Listen("http", kAnyPort).value();
  EXPECT_NE(third, first.fd->get());
  EXPECT_NE(third, second.fd->get());
}

TEST_F(GivenTest, WorkersThatItIsTooFewForHaveOthersBesideItFromReadyOn) {
  ListenOptions options;
  options.reuse_port = true;
  auto bound = BindListener(kAnyPort, options);
  ASSERT_TRUE(bound.ok()) << bound.status();
  const GivenDescriptor http = {"http",
                                std::make_shared<UniqueFd>(*std::move(bound))};
  const auto handoff = Start({http});
  const auto shards = handoff->ListenSharded("http", "tcp:no address", 3);
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_EQ((*shards)[0], std::vector<int>{http.fd->get()});
  const auto listens = [&shards](size_t worker) {
    int value = 0;
    socklen_t size = sizeof(value);
    ::getsockopt((*shards)[worker].at(0), SOL_SOCKET, SO_ACCEPTCONN, &value,
                 &size);
    return value != 0;
  };
  EXPECT_FALSE(listens(1));
  EXPECT_FALSE(listens(2));
  ASSERT_TRUE(handoff->Ready().ok());
  EXPECT_TRUE(listens(1));
  EXPECT_TRUE(listens(2));
}

TEST_F(GivenTest, AnotherDescriptorIsTakenToo) {
  const GivenDescriptor file = File("log");
  const auto handoff = Start({file});
  EXPECT_EQ(handoff->Descriptor("log", MakeNothing).value(), file.fd->get());
}

TEST_F(GivenTest, WhatCouldNotBeHandedOverIsRefused) {
  io_uring_params parameters = {};
  auto ring = std::make_shared<UniqueFd>(
      static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters)));
  if (!ring->valid()) GTEST_SKIP() << "io_uring: " << std::strerror(errno);
  const auto handoff = Start({{"ring", ring}});
  EXPECT_EQ(handoff->Descriptor("ring", MakeNothing).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(GivenTest, WhatNobodyTookIsClosedByReady) {
  const GivenDescriptor http = Listener("http");
  const GivenDescriptor file = File("log");
  const auto handoff = Start({http, file});
  ASSERT_TRUE(handoff->Listen("http", kAnyPort).ok());
  EXPECT_TRUE(file.fd->valid());
  ASSERT_TRUE(handoff->Ready().ok());
  EXPECT_FALSE(file.fd->valid());
  EXPECT_TRUE(http.fd->valid());
}

TEST_F(GivenTest, WhatThePredecessorHasOfThatNameGoesBefore) {
  const GivenDescriptor http = Listener("http");
  auto first = Start({http});
  ASSERT_TRUE(first->Listen("http", kAnyPort).ok());
  ASSERT_TRUE(first->Ready().ok());

  const GivenDescriptor again = Listener("http");
  const GivenDescriptor fresh = Listener("fresh");
  const auto second = Start({again, fresh});
  ASSERT_TRUE(second->took_over());
  const int inherited = second->Listen("http", kAnyPort).value();
  EXPECT_NE(inherited, again.fd->get());
  EXPECT_EQ(second->Listen("fresh", "tcp:no address").value(), fresh.fd->get());
  EXPECT_NE(second->Listen("http", kAnyPort).value(), again.fd->get())
      << "where the predecessor has one of the name, all come from there";
  ASSERT_TRUE(second->Ready().ok());
  EXPECT_FALSE(again.fd->valid());
  EXPECT_TRUE(fresh.fd->valid());
}

TEST_F(GivenTest, WhatIsNoListenerIsNotListenedOn) {
  const auto handoff = Start({File("http")});
  EXPECT_EQ(handoff->Listen("http", kAnyPort).status(),
            absl::InvalidArgumentError(
                "what was given as \"http\" is no listening socket"));
}

TEST_F(GivenTest, WhatIsNotOpenIsRefused) {
  Options options;
  options.path = folder_ / "h";
  options.given = {{"http", std::make_shared<UniqueFd>()}};
  EXPECT_EQ(
      Handoff::Start(options).status(),
      absl::InvalidArgumentError("what was given as \"http\" is not open"));
}

}  // namespace
}  // namespace handoff
