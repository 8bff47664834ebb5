#ifndef HANDOFF_TOOLS_LOAD_EVENT_LOOP_H_
#define HANDOFF_TOOLS_LOAD_EVENT_LOOP_H_

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tools/load/descriptor.h"

namespace handoff::load {

// CLOCK_MONOTONIC: a wait that is measured must not change with the date.
absl::Time MonotonicNow();

// Level-triggered epoll, and one timer for each handler, also for one without a
// descriptor. Handlers may add and remove any handler, themselves included,
// from within their calls.
//
// Not thread-safe. Handlers and descriptors are borrowed; Remove() comes before
// the end of either.
class EventLoop {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // `events` is of epoll(7).
    virtual void OnReady(uint32_t events) = 0;
    virtual void OnTimer() = 0;
  };
  // Names a handler to the loop; never used twice.
  using Id = uint64_t;

  // Timers are called up to `grain` late, so that several need one wait only.
  explicit EventLoop(absl::Duration grain = absl::Milliseconds(1));

  // Codes by absl::ErrnoToStatus.
  absl::Status Add(int fd, uint32_t events, Handler* handler, Id* id);
  absl::Status Change(int fd, uint32_t events, Id id);
  void Remove(int fd, Id id);

  // A handler that has nothing but its timer.
  Id AddTimer(Handler* handler);
  void RemoveTimer(Id id) { entries_.erase(id); }

  // Calls the handler once at `when`, in place of a time set before.
  void SetTimer(Id id, absl::Time when);

  // When the last wait for events ended: the same for all handlers that it
  // woke, so that what one of them costs is not in the figures of the next.
  absl::Time now() const { return now_; }

  // Waits for events and timers, `most` at the longest, and calls the handlers.
  // A signal ends the wait early.
  void Poll(absl::Duration most);

 private:
  struct Entry {
    Handler* handler;
    absl::Time timer = absl::InfiniteFuture();
  };
  using Due = std::pair<absl::Time, Id>;

  void CallTimers();

  const absl::Duration grain_;
  Descriptor epoll_;
  Id last_id_ = 0;
  absl::Time now_;
  absl::flat_hash_map<Id, Entry> entries_;
  // One that the entry does not (any longer) agree with is passed over.
  std::priority_queue<Due, std::vector<Due>, std::greater<Due>> timers_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_EVENT_LOOP_H_
