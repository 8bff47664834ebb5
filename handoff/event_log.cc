#include "handoff/event_log.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "handoff/protocol/frame.h"

namespace handoff {
namespace {

// Events that a process numbers before they would reach the next epoch.
constexpr int kEpochBits = 32;

uint64_t FirstOf(uint32_t began, uint64_t epoch) {
  return ((began + epoch) << kEpochBits) + 1;
}

// Longer than any name of a kind.
constexpr size_t kMaxKindBytes = 64;

}  // namespace

void EventLog::Number(v1::EventRecord& record) {
  record.set_generation(generation_);
  record.set_sequence(next_++);
  events_.push_back(std::move(record));
  Trim();
}

void EventLog::Trim() {
  while (events_.size() > kMaxEvents) {
    dropped_ = events_.front().sequence();
    events_.pop_front();
  }
}

void EventLog::SetEpoch(uint64_t epoch, uint64_t generation) {
  std::lock_guard<std::mutex> lock(mu_);
  generation_ = generation;
  if (began_ == 0) {
    began_ = static_cast<uint32_t>(absl::ToUnixSeconds(absl::Now()));
  }
  const uint64_t first = FirstOf(began_, epoch);
  // A predecessor that had such numbers was none of this line.
  while (!events_.empty() && events_.back().sequence() >= first) {
    events_.pop_back();
  }
  dropped_ = std::exchange(gap_, false) ? first - 1
                                        : std::min(dropped_, first - 1);
  next_ = first;
  for (v1::EventRecord& record : std::exchange(unnumbered_, {})) {
    Number(record);
  }
  changed_.notify_all();
}

void EventLog::NoteGap() {
  std::lock_guard<std::mutex> lock(mu_);
  gap_ = true;
}

void EventLog::Add(const Event& event) {
  v1::EventRecord record;
  record.set_at(static_cast<uint64_t>(absl::ToUnixNanos(absl::Now())));
  record.set_kind(std::string(EventKindName(event.kind)));
  record.set_handoff_id(event.handoff_id);
  record.set_text(
      Printable(event.text.substr(0, kMaxTextBytes)).substr(0, kMaxTextBytes));
  record.set_pid(::getpid());
  std::lock_guard<std::mutex> lock(mu_);
  if (next_ != 0) {
    Number(record);
    changed_.notify_all();
  } else if (unnumbered_.size() < kMaxEvents) {
    unnumbered_.push_back(std::move(record));
  }
}

void EventLog::Inherit(const v1::EventHistory& history) {
  std::lock_guard<std::mutex> lock(mu_);
  if (history.began() != 0) began_ = history.began();
  dropped_ = std::max(dropped_, history.dropped());
  for (const v1::EventRecord& event : history.events()) {
    const uint64_t last =
        events_.empty() ? dropped_ : events_.back().sequence();
    if (event.sequence() <= last) continue;
    v1::EventRecord& record = events_.emplace_back(event);
    record.set_kind(Printable(event.kind()).substr(0, kMaxKindBytes));
    record.set_text(Printable(event.text()).substr(0, kMaxTextBytes));
    Trim();
  }
}

v1::EventHistory EventLog::History(uint64_t after) const {
  std::lock_guard<std::mutex> lock(mu_);
  v1::EventHistory history;
  history.set_dropped(dropped_);
  history.set_began(began_);
  for (auto it = After(after); it != events_.end(); ++it) {
    *history.add_events() = *it;
  }
  return history;
}

bool EventLog::OfAnother(uint64_t number) const {
  return number != 0 && next_ != 0 &&
         (number >= next_ || number < FirstOf(began_, EpochOf(1)));
}

std::deque<v1::EventRecord>::const_iterator EventLog::After(
    uint64_t after) const {
  if (OfAnother(after)) return events_.begin();
  return std::upper_bound(events_.begin(), events_.end(), after,
                          [](uint64_t number, const v1::EventRecord& event) {
                            return number < event.sequence();
                          });
}

EventLog::Batch EventLog::Read(uint64_t after, size_t most) const {
  std::lock_guard<std::mutex> lock(mu_);
  Batch batch;
  batch.missed = after < dropped_ || OfAnother(after);
  auto it = After(after);
  const auto left = static_cast<size_t>(std::distance(it, events_.end()));
  batch.events.assign(it,
                      it + static_cast<std::ptrdiff_t>(std::min(most, left)));
  return batch;
}

uint64_t EventLog::last() const {
  std::lock_guard<std::mutex> lock(mu_);
  return events_.empty() ? 0 : events_.back().sequence();
}

void EventLog::WaitFor(uint64_t after, absl::Time deadline) const {
  std::unique_lock<std::mutex> lock(mu_);
  const uint64_t wakes = wakes_;
  const auto done = [&] {
    return wakes_ != wakes || After(after) != events_.end();
  };
  if (deadline == absl::InfiniteFuture()) {
    changed_.wait(lock, done);
  } else {
    changed_.wait_until(lock, absl::ToChronoTime(deadline), done);
  }
}

void EventLog::Wake() const {
  std::lock_guard<std::mutex> lock(mu_);
  ++wakes_;
  changed_.notify_all();
}

}  // namespace handoff
