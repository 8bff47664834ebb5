// Those who watch a real server's events, over handoffs and in numbers.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "gtest/gtest.h"
#include "tests/admin/admin_client.h"
#include "tests/server/served.h"

namespace handoff::admin_tests {
namespace {

using admin::v1::WatchEventsRequest;
using admin::v1::WatchEventsResponse;
using server::Client;
using server::Eventually;

class Watching : public server::Served {
 protected:
  void Start() { Served::Start({absl::StrCat("--admin=", Address())}); }
  std::string Address() const { return absl::StrCat("unix:", File("a")); }

  // What the last handoff cost its sessions, at the most.
  absl::Duration Blackout(AdminClient& client) {
    admin::v1::GetStatusResponse status;
    EXPECT_TRUE(Eventually([&] {
      status = client.Status();
      return status.last_handoff().has_blackout();
    })) << "no group of the successor has polled";
    const auto& most = status.last_handoff().blackout().max();
    return absl::Seconds(most.seconds()) + absl::Nanoseconds(most.nanos());
  }
};

TEST_F(Watching, EventsGoOnAtTheSuccessorWithoutGapOrDouble) {
  Start();
  AdminClient before(Address());
  Context first_context;
  WatchEventsRequest request;
  const auto first = before->WatchEvents(&first_context, request);
  std::vector<uint64_t> seen;
  WatchEventsResponse response;
  ASSERT_TRUE(first->Read(&response));
  EXPECT_EQ(response.event().kind(), "started");
  seen.push_back(response.event().sequence());
  Upgrade();
  bool watch_ended = false;
  while (first->Read(&response)) {
    ASSERT_TRUE(response.has_event());
    seen.push_back(response.event().sequence());
    watch_ended = watch_ended || response.event().kind() == "watch-ended";
  }
  EXPECT_TRUE(watch_ended) << "the stream ended before the drain";
  const ::grpc::Status drained = first->Finish();
  ASSERT_EQ(drained.error_code(), ::grpc::UNAVAILABLE)
      << drained.error_message();
  EXPECT_EQ(ProblemOf(drained).reason(), "DRAINING");
  EXPECT_TRUE(absl::StrContains(drained.error_message(),
                                absl::StrCat("after=", seen.back())))
      << drained.error_message();

  // All that the successor has beside it, and nothing else.
  std::vector<uint64_t> all;
  const auto read = [this](uint64_t after, std::vector<uint64_t>& into) {
    AdminClient client(Address());
    // So that there is an event by which to tell the end.
    admin::v1::UnlockResponse unlocked;
    client.Call(&admin::v1::Admin::Stub::Unlock, {}, &unlocked);
    Context context;
    WatchEventsRequest from;
    from.set_after(after);
    const auto stream = client->WatchEvents(&context, from);
    WatchEventsResponse one;
    while (stream->Read(&one)) {
      EXPECT_FALSE(one.has_missed());
      if (one.event().kind() == "audit") break;
      into.push_back(one.event().sequence());
    }
    context.TryCancel();
  };
  const std::vector<uint64_t> with_first = seen;
  read(seen.back(), seen);
  EXPECT_GT(seen.size(), with_first.size()) << "nothing of the successor";
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end())
      << "an event came twice";
  read(0, all);
  for (const uint64_t event : all) {
    EXPECT_TRUE(std::binary_search(seen.begin(), seen.end(), event))
        << "event " << event << " is in a gap";
  }
}

TEST_F(Watching, OnlyWhatIsAskedForComesAndOnlyFromNow) {
  Start();
  AdminClient client(Address());
  Context context;
  WatchEventsRequest request;
  request.set_from_now(true);
  request.add_kinds("audit");
  const auto stream = client->WatchEvents(&context, request);
  // The headers say that it watches now.
  stream->WaitForInitialMetadata();
  admin::v1::UnlockResponse unlocked;
  client.Call(&admin::v1::Admin::Stub::Unlock, {}, &unlocked);
  WatchEventsResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.event().kind(), "audit");
  EXPECT_TRUE(absl::StrContains(response.event().text(), "Unlock"));
  context.TryCancel();
}

TEST_F(Watching, WhoeverIsTooSlowIsToldWhatItMissed) {
  Start();
  ::grpc::ChannelArguments small;
  small.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  small.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  small.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 * 1024);
  AdminClient slow(::grpc::CreateCustomChannel(
      Address(), ::grpc::InsecureChannelCredentials(), small));
  Context context(absl::Seconds(150));
  const auto stream = slow->WatchEvents(&context, {});
  WatchEventsResponse response;
  ASSERT_TRUE(stream->Read(&response));

  // More than the log keeps, and than fits the stream beside it: an event is
  // about 300 bytes here.
  AdminClient busy(Address());
  admin::v1::LockRequest lock;
  lock.set_reason(std::string(200, 'x'));
  constexpr int kEvents = 1'600;
  for (int i = 0; i < kEvents; ++i) {
    admin::v1::LockResponse locked;
    ASSERT_TRUE(busy.Call(&admin::v1::Admin::Stub::Lock, lock, &locked).ok());
  }
  uint64_t last = response.event().sequence();
  uint64_t missed = 0;
  int events = 0;
  // An event of our own is the last one.
  admin::v1::UnlockResponse unlocked;
  ASSERT_TRUE(busy.Call(&admin::v1::Admin::Stub::Unlock, {}, &unlocked).ok());
  while (stream->Read(&response)) {
    if (response.has_missed()) {
      EXPECT_GT(response.missed().up_to(), last);
      missed += response.missed().up_to() - last;
      last = response.missed().up_to();
      continue;
    }
    EXPECT_EQ(response.event().sequence(), last + 1)
        << "a gap that it was not told of";
    last = response.event().sequence();
    ++events;
    if (absl::StrContains(response.event().text(), "Unlock")) break;
  }
  EXPECT_GT(missed, 0u);
  EXPECT_EQ(missed + static_cast<uint64_t>(events), kEvents + 1u);
  context.TryCancel();
}

// One who watches, by callbacks: a hundred of them need no thread each.
class Watcher : public ::grpc::ClientReadReactor<WatchEventsResponse> {
 public:
  explicit Watcher(AdminClient& client) {
    client->async()->WatchEvents(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    ++events_;
    StartRead(&response_);
  }
  void OnDone(const ::grpc::Status& status) override {
    std::lock_guard<std::mutex> lock(mu_);
    status_ = status;
    done_ = true;
    changed_.notify_all();
  }
  int events() const { return events_; }
  // Waits for the end.
  ::grpc::Status status() {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [this] { return done_; });
    return status_;
  }
  void Leave() { context_.TryCancel(); }

 private:
  Context context_{absl::Seconds(60)};
  WatchEventsRequest request_;
  WatchEventsResponse response_;
  std::atomic<int> events_{0};
  std::mutex mu_;
  std::condition_variable changed_;
  bool done_ = false;
  ::grpc::Status status_;
};

// What else the machine does makes a blackout longer and never shorter, so the
// quarter that had least of it is the one to compare.
absl::Duration LowerQuartile(std::vector<absl::Duration> some) {
  std::sort(some.begin(), some.end());
  return some[some.size() / 4];
}

// A hundred of them, and one more who has left.
class Hundred {
 public:
  explicit Hundred(const std::string& address) {
    for (int c = 0; c < kChannels; ++c) {
      channels_.push_back(std::make_unique<AdminClient>(address));
      for (int w = 0; w < kEach; ++w) {
        watchers_.push_back(std::make_unique<Watcher>(*channels_.back()));
      }
    }
    for (const auto& watcher : watchers_) {
      EXPECT_TRUE(Eventually([&] { return watcher->events() > 0; }));
    }
    watchers_.back()->Leave();
    EXPECT_EQ(watchers_.back()->status().error_code(), ::grpc::CANCELLED);
    watchers_.pop_back();
  }
  // Waits until they have been told to go elsewhere.
  void AwaitEnd() {
    for (size_t w = 0; w < watchers_.size(); ++w) {
      const ::grpc::Status status = watchers_[w]->status();
      EXPECT_EQ(status.error_code(), ::grpc::UNAVAILABLE)
          << "watcher " << w << ": " << status.error_message();
    }
  }

 private:
  static constexpr int kChannels = 10;
  static constexpr int kEach = 10;

  std::vector<std::unique_ptr<AdminClient>> channels_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
};

TEST_F(Watching, AHundredWatchersCostNoBlackoutAndOneWhoLeavesCostsNothing) {
  constexpr int kRounds = 16;
  Start();
  // Sessions, so that there is a blackout to measure.
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(line());
    clients.back().Send("GET /whoami HTTP/1.1\r\nhost: x\r\n\r\n");
    ASSERT_EQ(clients.back().ReadResponse().status, 200);
  }
  // By turns, so that it hits both alike.
  std::vector<absl::Duration> blackouts[2];
  for (int i = 0; i < kRounds; ++i) {
    const bool watched = i % 2 == 1;
    absl::optional<Hundred> hundred;
    if (watched) hundred.emplace(Address());
    Upgrade();
    AdminClient client(Address());
    blackouts[watched].push_back(Blackout(client));
    if (watched) hundred->AwaitEnd();
  }
  const absl::Duration without = LowerQuartile(blackouts[0]);
  const absl::Duration with = LowerQuartile(blackouts[1]);
  RecordProperty("quartile_without", absl::FormatDuration(without));
  RecordProperty("quartile_with", absl::FormatDuration(with));
  EXPECT_LE(with, 2 * without + absl::Milliseconds(2))
      << "without: " << absl::FormatDuration(without)
      << ", with a hundred watchers: " << absl::FormatDuration(with);
}

}  // namespace
}  // namespace handoff::admin_tests
