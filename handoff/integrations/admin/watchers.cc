#include "handoff/integrations/admin/watchers.h"

#include <algorithm>
#include <deque>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/integrations/admin/admin_messages.h"
#include "handoff/integrations/admin/problem.h"

namespace handoff {
namespace {

using admin::v1::WatchEventsRequest;
using admin::v1::WatchEventsResponse;

constexpr size_t kReadAtOnce = 16;
constexpr int kMostKinds = 100;
// A handoff is frozen for as long as its deadlines allow, seconds at the most.
// Should the log never say that it has ended, watchers are not left waiting.
constexpr absl::Duration kMostQuiet = absl::Seconds(10);
// The blackout ends when the successor has polled, which is about when the log
// says that the predecessor has released.
constexpr absl::Duration kQuietAfter = absl::Milliseconds(50);
// A Wake() that comes before the wait has begun does not end it.
constexpr absl::Duration kLongestWait = absl::Milliseconds(250);

}  // namespace

// At any time one thread drives a watcher: reads, writes, or finishes the call.
// Between two of them it is idle, and the lock of Watchers says whose turn is
// next.
class Watchers::Watcher final
    : public ::grpc::ServerWriteReactor<WatchEventsResponse> {
 public:
  Watcher(Watchers& all, const WatchEventsRequest& request, uint64_t after)
      : all_(all),
        kinds_(request.kinds().begin(), request.kinds().end()),
        after_(after) {}

  void OnWriteDone(bool ok) override {
    if (ok) {
      Drive();
    } else {
      Leave();
    }
  }
  void OnCancel() override { all_.Cancel(*this); }
  void OnDone() override {
    all_.Forget(*this);
    delete this;
  }

  // By whoever has set driven_.
  void Drive() {
    while (true) {
      bool nothing_left = false;
      if (events_.empty() && !Read(nothing_left)) return;  // a write is begun
      switch (all_.WhatNext(*this, nothing_left)) {
        case Next::kRead:
          if (WriteNext()) return;
          break;
        case Next::kWait:
          return;
        case Next::kEnd:
          Finish(ToGrpc(
              Problem(absl::StatusCode::kUnavailable, "DRAINING",
                      "this process drains, and a successor may be there",
                      absl::StrCat("reconnect with after=", after_))));
          return;
        case Next::kLeave:
          Leave();
          return;
      }
    }
  }
  void Leave() { Finish(::grpc::Status::CANCELLED); }

 private:
  friend class Watchers;

  bool Wanted(const v1::EventRecord& event) const {
    return kinds_.empty() || std::find(kinds_.begin(), kinds_.end(),
                                       event.kind()) != kinds_.end();
  }

  // False where it has begun to write that some were missed.
  bool Read(bool& nothing_left) {
    EventLog::Batch batch = all_.log_.Read(after_, kReadAtOnce);
    all_.Note(batch);
    nothing_left = batch.events.empty();
    // Whoever asks for the oldest that is there misses nothing.
    const bool missed = batch.missed && after_ != 0;
    if (missed) {
      const uint64_t up_to = nothing_left ? std::max(after_, all_.log_.last())
                                          : batch.events.front().sequence() - 1;
      after_ = up_to;
      response_.mutable_missed()->set_up_to(up_to);
    }
    for (v1::EventRecord& event : batch.events) {
      events_.push_back(std::move(event));
    }
    if (missed) StartWrite(&response_);
    return !missed;
  }

  // False where none of what it has is wanted.
  bool WriteNext() {
    while (!events_.empty()) {
      const v1::EventRecord event = std::move(events_.front());
      events_.pop_front();
      after_ = event.sequence();
      if (!Wanted(event)) continue;
      *response_.mutable_event() = ToAdmin(event);
      StartWrite(&response_);
      return true;
    }
    return false;
  }

  Watchers& all_;
  const std::vector<std::string> kinds_;

  // Of whoever drives:
  uint64_t after_;
  std::deque<v1::EventRecord> events_;
  WatchEventsResponse response_;

  // With the lock of Watchers:
  bool driven_ = true;
  bool cancelled_ = false;
  uint64_t round_ = 0;  // the last in which it was driven
};

Watchers::~Watchers() { Stop(); }

absl::Status Watchers::MakeThread() {
  try {
    thread_ = std::thread([this, go = go_.get_future()]() mutable {
      if (go.get()) Run();
    });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there can be no more threads: ", error.what()));
  }
  return absl::OkStatus();
}

// From here on: what was inherited speaks of handoffs that the predecessor
// gave.
void Watchers::Start() {
  noted_ = started_at_ = log_.last();
  running_ = true;
  go_.set_value(true);
}

::grpc::ServerWriteReactor<WatchEventsResponse>* Watchers::Watch(
    const WatchEventsRequest& request) {
  auto* watcher = new Watcher(
      *this, request, request.from_now() ? log_.last() : request.after());
  absl::Status refused;
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (request.kinds_size() > kMostKinds) {
      refused = Problem(absl::StatusCode::kInvalidArgument, "ARGUMENT",
                        "too many kinds",
                        absl::StrCat("ask for at most ", kMostKinds));
    } else if (watchers_.size() >= kMostWatchers) {
      refused =
          Problem(absl::StatusCode::kResourceExhausted, "TOO_MANY_WATCHERS",
                  absl::StrCat(kMostWatchers, " watch already"),
                  "end some of them, then call again");
    } else {
      watchers_.insert(watcher);
    }
  }
  if (refused.ok()) {
    // Now, and not with the first event: so a client knows that it watches.
    watcher->StartSendInitialMetadata();
    watcher->Drive();
  } else {
    watcher->Finish(ToGrpc(refused));
  }
  return watcher;
}

Watchers::Next Watchers::WhatNext(Watcher& watcher, bool nothing_left) {
  std::lock_guard<std::mutex> lock(mu_);
  if (watcher.cancelled_) return Next::kLeave;
  const bool quiet = absl::Now() < quiet_until_;
  if (!quiet && !nothing_left) return Next::kRead;
  // Since its last look at the log there may be more in it.
  if (watcher.round_ != round_ && !quiet) {
    watcher.round_ = round_;
    return Next::kRead;
  }
  if (!quiet && ended_) return Next::kEnd;
  watcher.driven_ = false;
  return Next::kWait;
}

void Watchers::Cancel(Watcher& watcher) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    watcher.cancelled_ = true;
    if (watcher.driven_) return;  // who drives it will see
    watcher.driven_ = true;
  }
  watcher.Leave();
}

void Watchers::Forget(Watcher& watcher) {
  std::lock_guard<std::mutex> lock(mu_);
  watchers_.erase(&watcher);
}

void Watchers::End() {
  std::lock_guard<std::mutex> lock(mu_);
  ended_ = true;
  ++round_;  // what is in the log now is read before anybody goes
  quiet_until_ = absl::InfinitePast();
  if (running_) log_.Wake();
}

void Watchers::Stop() {
  End();
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    if (!thread_.joinable()) return;
    if (std::exchange(running_, false)) {
      log_.Wake();
    } else {
      go_.set_value(false);
    }
  }
  thread_.join();
}

// What the log says of a handoff that this process is giving. It quiesces just
// after the successor is ready: to send that to all would take until then.
void Watchers::Note(const EventLog::Batch& batch) {
  std::lock_guard<std::mutex> lock(mu_);
  for (const v1::EventRecord& event : batch.events) {
    if (event.sequence() <= noted_) continue;
    noted_ = event.sequence();
    const std::string& kind = event.kind();
    if (kind == "ready-received" || kind == "quiescing") {
      quiet_until_ = absl::Now() + kMostQuiet;
    } else if (kind == "released") {
      quiet_until_ = absl::Now() + kQuietAfter;
    } else if (kind == "aborted" || kind == "rolled-back" ||
               kind == "watch-ended") {
      quiet_until_ = absl::InfinitePast();
    }
  }
}

// Reads the log to its end; the last that there is.
uint64_t Watchers::Look(uint64_t after) {
  while (true) {
    const EventLog::Batch batch = log_.Read(after, kReadAtOnce);
    if (batch.events.empty()) return after;
    Note(batch);
    after = batch.events.back().sequence();
  }
}

void Watchers::Run() {
  uint64_t seen = started_at_;
  absl::Time quiet_until = absl::InfinitePast();
  while (true) {
    const absl::Time now = absl::Now();
    const absl::Time longest = now + kLongestWait;
    log_.WaitFor(seen,
                 quiet_until > now ? std::min(quiet_until, longest) : longest);
    seen = Look(seen);
    std::vector<Watcher*> idle;
    {
      std::lock_guard<std::mutex> lock(mu_);
      quiet_until = quiet_until_;
      ++round_;
      const bool quiet = absl::Now() < quiet_until_;
      for (Watcher* watcher : watchers_) {
        if (quiet || watcher->driven_) continue;
        watcher->driven_ = true;
        watcher->round_ = round_;
        idle.push_back(watcher);
      }
      if (stopped_ && idle.empty()) return;
    }
    // Whom we drive cannot go away: it ends only by whoever drives it.
    for (Watcher* watcher : idle) watcher->Drive();
  }
}

}  // namespace handoff
