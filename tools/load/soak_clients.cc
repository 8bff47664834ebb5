#include "tools/load/soak_clients.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/load/connection.h"
#include "tools/load/exchange.h"
#include "tools/load/whoami.h"

namespace handoff::load {
namespace {

constexpr absl::Duration kCheckInterval = absl::Milliseconds(250);
// Connections that are opened in one Tick(), so that the server's accept queue
// has room for them.
constexpr size_t kOpenAtOnce = 50;

// How the end of a connection is told from an answer that was wrong.
bool Ended(absl::string_view why) {
  return absl::StartsWith(why, "the server closed the connection") ||
         absl::StartsWith(why, "recv: ") || absl::StartsWith(why, "send: ") ||
         absl::StartsWith(why, "connect");
}

}  // namespace

class SoakClients::Client : public Connection::Owner {
 public:
  Client(SoakClients* clients, bool once, uint64_t number)
      : clients_(*clients),
        once_(once),
        number_(number),
        random_(clients->options_.seed + number),
        connection_(&clients->loop_, this) {}

  void Open() {
    opened_ = MonotonicNow();
    const bool slow_reader = !once_ && number_ % 4 == 3;
    if (absl::Status opened = connection_.Open(clients_.server_, slow_reader);
        !opened.ok()) {
      return OnFailure(absl::StrCat(opened.message()));
    }
    connection_.Start(once_ ? HealthOnce() : Whoami(), absl::ZeroDuration());
  }

  bool over() const { return over_; }
  absl::Time opened() const { return opened_; }
  uint64_t session() const { return session_; }
  bool idle() const { return connection_.idle(); }
  void CheckPatience() { connection_.CheckPatience(); }

  void Next() {
    asks_whoami_ = !asks_whoami_;
    connection_.Start(asks_whoami_ ? Whoami() : Work(),
                      absl::Milliseconds(Between(0, 300)));
  }

  void OnChecked(uint64_t) override {}
  void OnAnswer(const std::string& text) override {
    ++clients_.requests_ok_;
    if (once_) {
      connection_.Close();
      over_ = true;
      return;
    }
    if (asks_whoami_ && !CheckWhoami(text)) return;
    // Not with a body that the server still holds.
    if (!asks_whoami_ || !clients_.paused_) Next();
  }
  void OnFailure(const std::string& why) override {
    over_ = true;
    clients_.OnFailure(*this, why);
  }

 private:
  // Each request has to count once, whoever has answered it.
  bool CheckWhoami(const std::string& text) {
    const absl::StatusOr<WhoamiAnswer> answer = ParseWhoami(text);
    uint64_t session = 0;
    if (answer.ok() && absl::SimpleAtoi(answer->id, &session) &&
        (session_ == 0 || session_ == session) &&
        answer->requests == connection_.begun()) {
      session_ = session;
      return true;
    }
    connection_.Close();
    OnFailure(absl::StrCat("session ", session_, " with ", connection_.begun(),
                           " requests was told: ", text));
    return false;
  }

  Exchange Work() {
    const uint64_t offset = random_();
    const bool chunked = Between(0, 1) == 0;
    switch (number_ % 4) {
      case 1: {
        const uint64_t rate = Between(20, 20'000);
        return Stream(rate * Between(200, 3000) / 1000 + 1, rate);
      }
      case 2: {
        Exchange exchange = Echo(offset, Between(4'000, 24'000), chunked);
        exchange.send_piece = exchange.request.size() / Between(2, 10) + 1;
        exchange.send_interval = absl::Milliseconds(100);
        return exchange;
      }
      case 3: {
        Exchange exchange = Echo(offset, 96 * 1024, chunked);
        exchange.read_piece = 12 * 1024;
        exchange.read_interval = absl::Milliseconds(100);
        return exchange;
      }
      default:
        return Echo(offset, Between(1, 2'000), chunked);
    }
  }

  uint64_t Between(uint64_t low, uint64_t high) {
    return std::uniform_int_distribution<uint64_t>(low, high)(random_);
  }

  SoakClients& clients_;
  const bool once_;
  const uint64_t number_;
  std::mt19937_64 random_;
  Connection connection_;
  bool asks_whoami_ = true;
  bool over_ = false;
  absl::Time opened_;
  uint64_t session_ = 0;
};

SoakClients::SoakClients(const Options& options, const sockaddr_in& server,
                         EventLoop* loop)
    : options_(options),
      server_(server),
      loop_(*loop),
      next_short_(loop->now()),
      next_check_(loop->now()) {}

SoakClients::~SoakClients() = default;

void SoakClients::OnFailure(const Client& client, const std::string& why) {
  if (Ended(why)) {
    losses_.push_back({client.opened(), client.session(),
                       absl::StrContains(why, "refused"), why});
  } else {
    violations_.push_back(why);
  }
}

void SoakClients::Tick() {
  const absl::Time now = loop_.now();
  for (std::vector<std::unique_ptr<Client>>* clients : {&kept_, &short_}) {
    clients->erase(std::remove_if(clients->begin(), clients->end(),
                                  [](const auto& it) { return it->over(); }),
                   clients->end());
  }
  const auto open = [this](std::vector<std::unique_ptr<Client>>& clients,
                           bool once) {
    clients.push_back(std::make_unique<Client>(this, once, opened_++));
    clients.back()->Open();
  };
  for (size_t i = 0; i < kOpenAtOnce && kept_.size() < options_.kept; ++i) {
    open(kept_, /*once=*/false);
  }
  next_short_ = std::max(next_short_, now - absl::Milliseconds(50));
  while (!paused_ && next_short_ <= now) {
    next_short_ += absl::Seconds(1 / options_.short_per_second);
    open(short_, /*once=*/true);
  }
  if (now < next_check_) return;
  next_check_ = now + kCheckInterval;
  for (const auto& client : kept_) client->CheckPatience();
  for (const auto& client : short_) client->CheckPatience();
}

void SoakClients::Resume() {
  paused_ = false;
  for (const auto& client : kept_) {
    if (!client->over() && client->idle()) client->Next();
  }
}

bool SoakClients::Quiet() const {
  return short_.empty() && kept_.size() == options_.kept &&
         absl::c_all_of(kept_, [](const auto& it) {
           return !it->over() && it->idle() && it->session() != 0;
         });
}

std::vector<SoakClients::Loss> SoakClients::TakeLosses() {
  return std::exchange(losses_, {});
}

std::vector<std::string> SoakClients::TakeViolations() {
  return std::exchange(violations_, {});
}

}  // namespace handoff::load
