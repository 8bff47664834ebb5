#include "tools/load/load.h"

#include <algorithm>
#include <array>
#include <string>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "tools/load/connection.h"
#include "tools/load/exchange.h"

namespace handoff::load {
namespace {

// Of 1,540 connections; in this order in the enumeration. The others, 100, are
// members of rooms.
constexpr std::array<size_t, kKinds> kShares = {540, 380, 380, 40, 100};
constexpr size_t kAllShares = 1540;
constexpr size_t kChatShare = 100;

// Of a room, at the most.
constexpr size_t kMembers = 20;

constexpr std::array<const char*, kKinds> kKindNames = {
    "requests", "streams", "uploads", "slow readers", "idle"};

// Kept connections that are opened in one Tick(), so that the server's accept
// queue has room for them.
constexpr size_t kOpenAtOnce = 50;

// One in so many connections of small requests is held in each handoff.
constexpr size_t kHoldOneIn = 3;

constexpr absl::Duration kCheckInterval = absl::Milliseconds(250);

}  // namespace

// Connects, asks once whether the server is well, and waits for its close.
class Load::ShortConnection : public Connection::Owner {
 public:
  ShortConnection(EventLoop* loop, Tally* tally)
      : tally_(*tally), connection_(loop, this) {}

  void Open(const sockaddr_in& server) {
    if (absl::Status opened = connection_.Open(server, false); !opened.ok()) {
      OnFailure(absl::StrCat(opened.message()));
      return;
    }
    connection_.Start(HealthOnce(), absl::ZeroDuration());
  }

  bool ended() const { return ended_; }
  void CheckPatience() { connection_.CheckPatience(); }

  void OnChecked(uint64_t bytes) override { tally_.bytes_checked += bytes; }
  void OnAnswer(const std::string&) override {
    ++tally_.requests_ok;
    // With the time to connect: where the server's backlog is full, its kernel
    // drops the SYN, and the client waits a second before it tries again.
    const Connection::Waits waits = connection_.waits();
    tally_.longest_answer_wait =
        std::max({tally_.longest_answer_wait, waits.since_open, waits.answer});
    connection_.Close();
    ended_ = true;
  }
  void OnFailure(const std::string& why) override {
    ++tally_.requests_failed;
    tally_.AddProblem(absl::StrCat("a short connection: ", why));
    ended_ = true;
  }

 private:
  Tally& tally_;
  Connection connection_;
  bool ended_ = false;
};

Load::Load(const Options& options, const sockaddr_in& server, EventLoop* loop,
           Generations* generations, Tally* tally)
    : options_(options),
      server_(server),
      loop_(*loop),
      generations_(*generations),
      tally_(*tally),
      next_short_(loop->now()),
      next_check_(loop->now()) {
  for (size_t kind = 0; kind < kKinds; ++kind) {
    const size_t count =
        std::max<size_t>(1, options.kept * kShares[kind] / kAllShares);
    kinds_.insert(kinds_.end(), count, static_cast<Kind>(kind));
  }
  members_ = std::max<size_t>(2, options.kept * kChatShare / kAllShares);
  for (size_t left = members_; left > 0; left -= rooms_.back()->members) {
    rooms_.push_back(std::make_unique<ChatRoom>(ChatRoom{
        absl::StrCat("room-", rooms_.size()), std::min(left, kMembers)}));
  }
  // What rounding has left over.
  kinds_.resize(std::max(kinds_.size() + members_, options.kept) - members_,
                Kind::kRequests);
}

Load::~Load() = default;

void Load::Tick() {
  const absl::Time now = loop_.now();
  if (!winding_down_) {
    OpenKept();
    OpenShort();
  }
  short_.erase(std::remove_if(short_.begin(), short_.end(),
                              [](const auto& it) { return it->ended(); }),
               short_.end());
  if (now < next_check_) return;
  next_check_ = now + kCheckInterval;
  for (const auto& connection : kept_) connection->CheckPatience();
  for (const auto& member : chatting_) member->CheckPatience();
  for (const auto& connection : short_) connection->CheckPatience();
}

void Load::OpenKept() {
  size_t opened_now = 0;
  for (; opened_now < kOpenAtOnce && kept_.size() < kinds_.size();
       ++opened_now) {
    const size_t index = kept_.size();
    kept_.push_back(std::make_unique<KeptConnection>(
        kinds_[index], options_.seed + index, &loop_, &generations_, &tally_));
    if (absl::Status opened = kept_.back()->Open(server_); !opened.ok()) {
      kept_.back()->OnFailure(absl::StrCat(opened.message()));
    }
  }
  OpenChatting(kOpenAtOnce - opened_now);
}

void Load::OpenChatting(size_t most) {
  size_t room = 0;
  size_t before = 0;  // members of the rooms before it
  while (most-- > 0) {
    while (room < rooms_.size() &&
           chatting_.size() >= before + rooms_[room]->members) {
      before += rooms_[room++]->members;
    }
    if (room == rooms_.size()) return;
    const size_t number = chatting_.size() - before + 1;
    chatting_.push_back(std::make_unique<ChatClient>(
        rooms_[room].get(), number, options_.seed + kept_.size() + number,
        &loop_, &generations_, &tally_));
    chatting_.back()->Open(server_);
  }
}

void Load::OpenShort() {
  if (options_.short_per_second <= 0) return;
  // Where the client itself was held up, what it missed is not made up for: the
  // rate is the most, not a promise.
  next_short_ = std::max(next_short_, loop_.now() - absl::Milliseconds(50));
  while (next_short_ <= loop_.now()) {
    next_short_ += absl::Seconds(1 / options_.short_per_second);
    short_.push_back(std::make_unique<ShortConnection>(&loop_, &tally_));
    short_.back()->Open(server_);
  }
}

bool Load::Prepared() const {
  // The members come last.
  return chatting_.size() == members_ &&
         absl::c_all_of(kept_,
                        [](const auto& connection) {
                          return connection->lost() || connection->prepared();
                        }) &&
         absl::c_all_of(chatting_, [](const auto& member) {
           return member->lost() || member->proven();
         });
}

std::string Load::DescribeUnprepared() const {
  std::array<size_t, kKinds> counts = {};
  for (const auto& connection : kept_) {
    if (!connection->lost() && !connection->prepared()) {
      ++counts[static_cast<size_t>(connection->kind())];
    }
  }
  std::string text;
  for (size_t kind = 0; kind < kKinds; ++kind) {
    if (counts[kind] == 0) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ", counts[kind], " of ",
                    kKindNames[kind]);
  }
  const auto silent = absl::c_count_if(chatting_, [](const auto& member) {
    return !member->lost() && !member->proven();
  });
  if (silent > 0) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", silent,
                    " members of rooms");
  }
  return text;
}

void Load::BeforeHandoff() {
  for (const auto& connection : kept_) connection->BeforeHandoff();
}

size_t Load::CountCut() const {
  return absl::c_count_if(
      kept_, [](const auto& connection) { return connection->WasCut(); });
}

void Load::PlanHolds() {
  size_t index = 0;
  for (const auto& connection : kept_) {
    if (connection->kind() == Kind::kRequests &&
        ++index % kHoldOneIn == holding_) {
      connection->PlanHold();
    }
  }
  holding_ = (holding_ + 1) % kHoldOneIn;
}

void Load::OnServes() {
  for (const auto& connection : kept_) connection->OnServes();
}

void Load::ShortStreams() {
  for (const auto& connection : kept_) connection->ShortStreams();
}

void Load::WindDown() {
  winding_down_ = true;
  for (const auto& connection : kept_) connection->WindDown();
  for (const auto& member : chatting_) member->WindDown();
}

bool Load::Ended() const {
  return short_.empty() &&
         absl::c_all_of(kept_, [](const auto& it) { return it->ended(); }) &&
         absl::c_all_of(chatting_, [](const auto& it) { return it->ended(); });
}

size_t Load::CountKept() const {
  const auto kept = [](const auto& it) { return it->kept(); };
  return static_cast<size_t>(absl::c_count_if(kept_, kept) +
                             absl::c_count_if(chatting_, kept));
}

size_t Load::CountLost() const {
  const auto lost = [](const auto& it) { return it->lost(); };
  return static_cast<size_t>(absl::c_count_if(kept_, lost) +
                             absl::c_count_if(chatting_, lost));
}

}  // namespace handoff::load
