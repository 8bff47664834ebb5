// A service that is killed again and again, at any moment, under clients that
// know every byte that has to come.

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/process/store_manager.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

constexpr int kKills = 20;
constexpr size_t kClients = 16;
// Echoes under way on one connection.
constexpr uint64_t kMaxUnderWay = 3;

// Sends numbered lines, and reads what has to come back or the end.
class EchoClient {
 public:
  // `quiet`: sends only when it is told to.
  EchoClient(int port, bool quiet)
      : quiet_(quiet), client_(std::make_unique<ToyClient>(port)) {}

  void Send() {
    const std::string line = absl::StrCat("echo ", ++sent_, "\n");
    client_->Send(line);
    expected_ += line;
  }
  // What there is to send and to read now.
  void Step() {
    if (over_) return;
    if (!quiet_ && sent_ - answered_ < kMaxUnderWay) Send();
    Read();
  }
  void Read() {
    char bytes[4096];
    while (!over_) {
      const ssize_t n =
          ::recv(client_->fd(), bytes, sizeof(bytes), MSG_DONTWAIT);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n <= 0) {
        over_ = true;
        return;
      }
      const std::string got(bytes, static_cast<size_t>(n));
      if (expected_.compare(0, got.size(), got) != 0) {
        wrong_ = absl::StrCat("has to read \"", expected_.substr(0, 60),
                              "\" and reads \"", got.substr(0, 60), "\"");
        over_ = true;
        return;
      }
      answered_ +=
          static_cast<uint64_t>(std::count(got.begin(), got.end(), '\n'));
      expected_.erase(0, got.size());
    }
  }

  bool over() const { return over_; }
  bool idle() const { return expected_.empty(); }
  bool quiet() const { return quiet_; }
  const std::string& wrong() const { return wrong_; }

 private:
  bool quiet_;
  std::unique_ptr<ToyClient> client_;
  uint64_t sent_ = 0;
  uint64_t answered_ = 0;
  std::string expected_;
  bool over_ = false;
  std::string wrong_;
};

// Steps all until `done`; false after kPatience.
template <typename Done>
bool StepUntil(std::vector<EchoClient>& clients, const Done& done) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!done()) {
    if (absl::Now() > deadline) return false;
    for (EchoClient& client : clients) client.Step();
    absl::SleepFor(absl::Microseconds(300));
  }
  return true;
}

TEST(StoreKillTest, AConnectionGoesOnExactlyOrIsReset) {
  ShortFolder folder;
  StoreManager manager;
  const Settings settings = {{"handoff", folder / "h"},
                             {"fd_store", "1"},
                             {"store_interval", "5ms"},
                             {"store_proof", "0s"}};
  std::mt19937 random(7);
  auto service = manager.Start(settings);
  ASSERT_TRUE(service->WaitReady()) << service->Said();
  std::vector<EchoClient> clients;
  int went_on = 0;
  int reset = 0;
  int quiet_lost = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    while (clients.size() < kClients) {
      clients.emplace_back(service->port(), clients.size() % 2 == 0);
    }
    // Each has a session, and each of the quiet ones an answer.
    for (EchoClient& client : clients) client.Send();
    ASSERT_TRUE(StepUntil(clients, [&] {
      return std::all_of(clients.begin(), clients.end(), [](const auto& c) {
        return c.over() || !c.quiet() || c.idle();
      });
    }));
    // Any moment from there on; it decides how many go on, not whether this
    // passes.
    const absl::Time at = absl::Now() + absl::Microseconds(random() % 40'000);
    ASSERT_TRUE(StepUntil(clients, [&] { return absl::Now() > at; }));
    service->Signal(SIGKILL);
    ASSERT_EQ(service->WaitExit(), -SIGKILL);
    service = manager.Start(settings);
    ASSERT_TRUE(service->WaitReady()) << service->Said();
    // Whoever goes on has all of its answers; the others hear of their end.
    for (EchoClient& client : clients) {
      if (!client.over()) client.Send();
    }
    ASSERT_TRUE(StepUntil(clients, [&] {
      return std::all_of(clients.begin(), clients.end(), [](const auto& c) {
        return c.over() || !c.quiet() || c.idle();
      });
    })) << service->Said();
    const absl::Time deadline = absl::Now() + kPatience;
    for (EchoClient& client : clients) {
      while (!client.over() && !client.idle() && absl::Now() < deadline) {
        client.Read();
      }
      ASSERT_TRUE(client.over() || client.idle())
          << "neither answered nor reset\n"
          << service->Said();
      EXPECT_EQ(client.wrong(), "") << "after kill " << kill;
      ++(client.over() ? reset : went_on);
      quiet_lost += client.quiet() && client.over();
    }
    clients.erase(std::remove_if(clients.begin(), clients.end(),
                                 [](const auto& c) { return c.over(); }),
                  clients.end());
  }
  EXPECT_GT(went_on, 0);
  RecordProperty("went_on", went_on);
  RecordProperty("reset", reset);
  RecordProperty("quiet_lost", quiet_lost);
  printf("%d went on, %d were reset, of them %d quiet ones\n", went_on, reset,
         quiet_lost);
  const size_t live = clients.size();
  EXPECT_TRUE(manager.WaitSessions(live));
  clients.clear();
  EXPECT_TRUE(manager.WaitSessions(0));
}

}  // namespace
}  // namespace handoff::toy
