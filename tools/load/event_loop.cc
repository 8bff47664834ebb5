#include "tools/load/event_loop.h"

#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace handoff::load {

absl::Time MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::TimeFromTimespec(now);
}

EventLoop::EventLoop(absl::Duration grain)
    : grain_(grain),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      now_(MonotonicNow()) {}

absl::Status EventLoop::Add(int fd, uint32_t events, Handler* handler, Id* id) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = ++last_id_;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return absl::ErrnoToStatus(errno, "epoll_ctl");
  }
  *id = last_id_;
  entries_[*id] = {handler};
  return absl::OkStatus();
}

absl::Status EventLoop::Change(int fd, uint32_t events, Id id) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = id;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) {
    return absl::ErrnoToStatus(errno, "epoll_ctl");
  }
  return absl::OkStatus();
}

void EventLoop::Remove(int fd, Id id) {
  if (entries_.erase(id) != 0) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }
}

EventLoop::Id EventLoop::AddTimer(Handler* handler) {
  entries_[++last_id_] = {handler};
  return last_id_;
}

void EventLoop::SetTimer(Id id, absl::Time when) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  entry->second.timer = when;
  if (when != absl::InfiniteFuture()) timers_.emplace(when, id);
}

void EventLoop::Poll(absl::Duration most) {
  absl::Duration wait = most;
  if (!timers_.empty()) {
    wait = std::min(wait, timers_.top().first - MonotonicNow());
  }
  // Rounded up: rounded down, the last of it before a timer is spun away.
  const timespec timeout = absl::ToTimespec(
      absl::Ceil(std::max(wait, absl::ZeroDuration()), grain_));
  std::array<epoll_event, 256> events;
  const int count =
      epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()),
                   &timeout, nullptr);
  now_ = MonotonicNow();
  for (int i = 0; i < count; ++i) {
    // An earlier one of the batch may have removed it.
    const auto entry = entries_.find(events[i].data.u64);
    if (entry != entries_.end()) {
      entry->second.handler->OnReady(events[i].events);
    }
  }
  CallTimers();
}

void EventLoop::CallTimers() {
  while (!timers_.empty() && timers_.top().first <= now_) {
    const auto [when, id] = timers_.top();
    timers_.pop();
    const auto entry = entries_.find(id);
    if (entry == entries_.end() || entry->second.timer != when) continue;
    entry->second.timer = absl::InfiniteFuture();
    entry->second.handler->OnTimer();
  }
}

}  // namespace handoff::load
