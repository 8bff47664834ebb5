#ifndef HANDOFF_SERVER_CONNECTION_COUNT_H_
#define HANDOFF_SERVER_CONNECTION_COUNT_H_

#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "absl/time/time.h"

namespace handoff::server {

// How many connections a process has, over all workers. Thread-safe.
class ConnectionCount {
 public:
  explicit ConnectionCount(size_t most) : most_(most) {}

  // Room for one that is about to be accepted; false at the limit.
  bool TryAdd() {
    std::lock_guard<std::mutex> lock(mu_);
    if (count_ >= most_) return false;
    ++count_;
    return true;
  }

  // One that was inherited: it is there, whatever our limit.
  void Add() {
    std::lock_guard<std::mutex> lock(mu_);
    ++count_;
  }

  void Remove() {
    std::lock_guard<std::mutex> lock(mu_);
    if (--count_ == 0) changed_.notify_all();
  }

  // Until there is none, `timeout` has passed, or StopWaiting() was called.
  // Returns how many there are.
  size_t WaitForNone(absl::Duration timeout) {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                      [this] { return count_ == 0 || stop_waiting_; });
    return count_;
  }

  void StopWaiting() {
    std::lock_guard<std::mutex> lock(mu_);
    stop_waiting_ = true;
    changed_.notify_all();
  }

 private:
  const size_t most_;
  std::mutex mu_;
  std::condition_variable changed_;
  size_t count_ = 0;
  bool stop_waiting_ = false;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_CONNECTION_COUNT_H_
