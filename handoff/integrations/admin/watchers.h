#ifndef HANDOFF_INTEGRATIONS_ADMIN_WATCHERS_H_
#define HANDOFF_INTEGRATIONS_ADMIN_WATCHERS_H_

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <cstdint>
#include <future>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "handoff/event_log.h"
#include "proto/admin.pb.h"

namespace handoff {

// Everybody who watches events: one thread for all of them, which waits for the
// log, and a few kilobytes for each. A watcher reads the log at its own pace,
// so a slow one holds nobody up, and finds out what it missed.
//
// From the successor's readiness until it has polled nothing is sent: events
// wait in the log, and whoever watches costs the blackout nothing.
class Watchers {
 public:
  static constexpr size_t kMostWatchers = 1'000;

  // `log` is touched between Start() and Stop() only: whoever never served, or
  // has stopped, may outlive it.
  explicit Watchers(const EventLog& log) : log_(log) {}
  // As Stop(). Every call has ended: the servers have been shut down.
  ~Watchers();

  // Makes the thread, which waits for Start(). Before the commit, after which
  // there would be no way back: RESOURCE_EXHAUSTED where there can be no more.
  absl::Status MakeThread();
  // After MakeThread(), once.
  void Start();

  // For Admin::WatchEvents, after Start().
  ::grpc::ServerWriteReactor<admin::v1::WatchEventsResponse>* Watch(
      const admin::v1::WatchEventsRequest& request);

  // Whoever watches is given what there is, and then told to go on elsewhere;
  // so is whoever comes.
  void End();
  // End(), and ends the thread.
  void Stop();

 private:
  class Watcher;
  friend class Watcher;

  // What a watcher does next.
  enum class Next { kRead, kWait, kEnd, kLeave };

  void Run();
  uint64_t Look(uint64_t after);
  void Note(const EventLog::Batch& batch);
  Next WhatNext(Watcher& watcher, bool nothing_left);
  void Cancel(Watcher& watcher);
  void Forget(Watcher& watcher);

  const EventLog& log_;
  uint64_t started_at_ = 0;  // the last event when it did
  std::mutex mu_;            // guards what follows
  std::unordered_set<Watcher*> watchers_;
  uint64_t noted_ = 0;  // what somebody has seen of the log
  uint64_t round_ = 0;  // counts up whenever all are to look again
  absl::Time quiet_until_ = absl::InfinitePast();
  bool running_ = false;
  bool ended_ = false;
  bool stopped_ = false;
  std::promise<bool> go_;  // whether it is to run
  std::thread thread_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_WATCHERS_H_
