#include "handoff/integrations/reuseport/reuseport.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/forked_child.h"
#include "handoff/integrations/reuseport/half_open_clients.h"

namespace handoff {
namespace {

constexpr uint16_t kPort = 8000;
constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr int kTimedOut = 10;  // exit code of a process whose leave did

std::string ServerAddress() {
  return absl::StrCat("tcp:", HalfOpenClients::kServer, ":", kPort);
}

// A process that listens, and greets everybody whom it accepts by its name.
class Server {
 public:
  enum class Then { kServe, kLeave, kClose };

  // From Tell() on it serves for good; or leaves, with this much time for it,
  // and is there still; or closes its listener.
  Server(const std::string& name, bool defer_accept, Then then,
         absl::Duration time = kPatience) {
    int told[2];
    int tells[2];
    EXPECT_EQ(::pipe2(told, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(tells, O_CLOEXEC), 0);
    tell_.reset(told[1]);
    said_.reset(tells[0]);
    const UniqueFd its_orders(told[0]);
    const UniqueFd its_words(tells[1]);
    child_ = std::make_unique<ForkedChild>([&] {
      tell_.reset();
      return Run(name, defer_accept, then, time, its_orders.get(),
                 its_words.get());
    });
    EXPECT_TRUE(Says('l')) << name << " does not listen";
  }

  void Tell() { EXPECT_EQ(::write(tell_.get(), "x", 1), 1); }
  bool Says(char word, int timeout_ms = 30'000) {
    pollfd events = {said_.get(), POLLIN, 0};
    char said = 0;
    return ::poll(&events, 1, timeout_ms) == 1 &&
           ::read(said_.get(), &said, 1) == 1 && said == word;
  }
  // Ends it; its exit code.
  int End() {
    Tell();
    return child_->Wait();
  }

 private:
  static int Run(const std::string& name, bool defer_accept, Then then,
                 absl::Duration time, int orders, int words) {
    absl::StatusOr<UniqueFd> listener = BindReuseport(ServerAddress());
    if (!listener.ok()) return 1;
    const int seconds = 60;
    if (defer_accept &&
        ::setsockopt(listener->get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds,
                     sizeof(seconds)) < 0) {
      return 2;
    }
    if (::write(words, "l", 1) != 1) return 3;
    char order = 0;
    if (::read(orders, &order, 1) != 1) return 4;
    std::vector<UniqueFd> clients;
    const auto greet = [&](UniqueFd client) {
      (void)::send(client.get(), name.data(), name.size(), MSG_NOSIGNAL);
      clients.push_back(std::move(client));
    };
    int result = 0;
    if (then == Then::kLeave) {
      const absl::Status left =
          LeaveReuseport(listener->get(), absl::Now() + time, greet);
      if (!left.ok()) result = absl::IsDeadlineExceeded(left) ? kTimedOut : 5;
    }
    if (then != Then::kServe) listener->reset();
    if (::write(words, "d", 1) != 1) return 6;
    // Serves, or has its connections only, until the test has done.
    while (true) {
      pollfd polled[] = {{orders, POLLIN, 0}, {listener->get(), POLLIN, 0}};
      (void)::poll(polled, 2, -1);
      if (polled[0].revents != 0) return result;
      UniqueFd client(::accept4(listener->get(), nullptr, nullptr, 0));
      if (client) greet(std::move(client));
    }
  }

  UniqueFd tell_;
  UniqueFd said_;
  std::unique_ptr<ForkedChild> child_;
};

class ReuseportTest : public testing::Test {
 protected:
  void Begin(int migrate) {
    absl::StatusOr<HalfOpenClients> clients = HalfOpenClients::Create(kPort);
    if (!clients.ok()) GTEST_SKIP() << "takes root: " << clients.status();
    clients_ = std::make_unique<HalfOpenClients>(*std::move(clients));
    std::ofstream("/proc/sys/net/ipv4/tcp_migrate_req") << migrate;
  }

  // Carries packets until the condition holds.
  bool Until(const std::function<bool()>& condition) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (!condition() && absl::Now() < deadline) clients_->Pump();
    return condition();
  }
  // Begins a handshake; the server has answered.
  void BeginHandshake(uint16_t port) {
    clients_->Syn(port);
    ASSERT_TRUE(Until([&] { return clients_->client(port).offered; }));
  }
  void Finish(uint16_t port) { clients_->Ack(port, "hello"); }
  // What client `port` was told: a name, "reset" or nothing.
  std::string Greeting(uint16_t port) {
    const HalfOpenClients::Client& client = clients_->client(port);
    (void)Until([&] { return client.reset || client.received.size() >= 3; });
    return client.reset ? "reset" : client.received;
  }
  // New clients, until one is greeted by `name`: the port after its own.
  uint16_t AwaitSteered(uint16_t port, const std::string& name) {
    const absl::Time deadline = absl::Now() + kPatience;
    std::string greeting;
    while (greeting != name && absl::Now() < deadline) {
      BeginHandshake(port);
      Finish(port);
      greeting = Greeting(port++);
      EXPECT_NE(greeting, "reset");
    }
    EXPECT_EQ(greeting, name);
    return port;
  }

  std::unique_ptr<HalfOpenClients> clients_;
};

// Whether requests migrate, and whether a connection is accepted with its first
// byte only.
class LeavingTest : public ReuseportTest,
                    public testing::WithParamInterface<std::tuple<int, bool>> {
};

TEST_P(LeavingTest, NoHandshakeThatCompletesInTimeIsReset) {
  const auto [migrate, defer] = GetParam();
  ASSERT_NO_FATAL_FAILURE(Begin(migrate));
  if (clients_ == nullptr) return;
  Server old_server("old", defer, Server::Then::kLeave);
  // Some wait in its queue, which nobody empties; some are not so far.
  for (uint16_t port = 100; port < 110; ++port) {
    BeginHandshake(port);
    Finish(port);
  }
  for (uint16_t port = 200; port < 220; ++port) BeginHandshake(port);
  // An ACK without data: for TCP_DEFER_ACCEPT that is no connection yet.
  if (defer) {
    for (uint16_t port = 200; port < 210; ++port) clients_->Ack(port, "");
  }

  Server new_server("new", defer, Server::Then::kServe);
  new_server.Tell();
  old_server.Tell();
  const uint16_t next = AwaitSteered(1000, "new");
  for (uint16_t port = 100; port < 110; ++port) {
    EXPECT_EQ(Greeting(port), "old") << "of the queue, " << port;
  }
  EXPECT_FALSE(old_server.Says('d', 0)) << "it waits for handshakes";
  for (uint16_t port = 200; port < 220; ++port) {
    Finish(port);
    EXPECT_EQ(Greeting(port), "old") << "held, " << port;
  }
  EXPECT_TRUE(old_server.Says('d'));
  for (uint16_t port = next; port < next + 10; ++port) {
    BeginHandshake(port);
    Finish(port);
    EXPECT_EQ(Greeting(port), "new") << "after it has gone, " << port;
  }
  EXPECT_EQ(old_server.End(), 0);
  EXPECT_EQ(new_server.End(), 0);
}

INSTANTIATE_TEST_SUITE_P(MigrateAndDefer, LeavingTest,
                         testing::Combine(testing::Values(0, 1),
                                          testing::Bool()),
                         [](const auto& info) {
                           return absl::StrCat(
                               std::get<0>(info.param) == 1 ? "Migrate"
                                                            : "NoMigrate",
                               std::get<1>(info.param) ? "Defer" : "NoDefer");
                         });

// What all of this is for: so the test can see a reset.
TEST_F(ReuseportTest, APlainCloseResetsWhatWaits) {
  ASSERT_NO_FATAL_FAILURE(Begin(0));
  if (clients_ == nullptr) return;
  Server old_server("old", false, Server::Then::kClose);
  BeginHandshake(100);
  Finish(100);
  BeginHandshake(200);
  Server new_server("new", false, Server::Then::kServe);
  new_server.Tell();
  old_server.Tell();
  EXPECT_TRUE(old_server.Says('d'));
  EXPECT_EQ(Greeting(100), "reset");
  Finish(200);
  EXPECT_EQ(Greeting(200), "reset");
  EXPECT_EQ(old_server.End(), 0);
  EXPECT_EQ(new_server.End(), 0);
}

TEST_F(ReuseportTest, AHandshakeThatDoesNotEndIsWaitedForUntilTheDeadline) {
  for (const int migrate : {0, 1}) {
    ASSERT_NO_FATAL_FAILURE(Begin(migrate));
    if (clients_ == nullptr) return;
    Server old_server("old", false, Server::Then::kLeave,
                      absl::Milliseconds(200));
    BeginHandshake(200);
    Server new_server("new", false, Server::Then::kServe);
    new_server.Tell();
    old_server.Tell();
    EXPECT_TRUE(old_server.Says('d'));
    Finish(200);
    EXPECT_EQ(Greeting(200), migrate == 1 ? "new" : "reset");
    EXPECT_EQ(old_server.End(), kTimedOut);
    EXPECT_EQ(new_server.End(), 0);
  }
}

TEST_F(ReuseportTest, OnlyOneOfTwoListenersCanLeave) {
  ASSERT_NO_FATAL_FAILURE(Begin(0));
  if (clients_ == nullptr) return;
  const auto leave = [](int fd) {
    return LeaveReuseport(fd, absl::Now() + kPatience, [](UniqueFd) {});
  };
  const auto alone = BindReuseport(ServerAddress());
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ(leave(alone->get()).code(), absl::StatusCode::kFailedPrecondition);
  const auto second = BindReuseport(ServerAddress());
  const auto third = BindReuseport(ServerAddress());
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(leave(alone->get()).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(BindReuseport("unix:/tmp/x").status().code(),
            absl::StatusCode::kInvalidArgument);
  const UniqueFd unconnected(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(leave(unconnected.get()).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace handoff
