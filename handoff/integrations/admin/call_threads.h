#ifndef HANDOFF_INTEGRATIONS_ADMIN_CALL_THREADS_H_
#define HANDOFF_INTEGRATIONS_ADMIN_CALL_THREADS_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace handoff {

// Runs calls beside gRPC's own threads, which must not block. A bounded number
// of threads, started as they are needed, and a bounded queue. Thread-safe.
class CallThreads {
 public:
  CallThreads(size_t threads, size_t queue)
      : most_threads_(threads), most_queued_(queue) {}
  // As Stop().
  ~CallThreads() { Stop(); }

  // False where every thread is busy and the queue is full, where there is none
  // and none can be made, or after Stop().
  bool Run(std::function<void()> call);
  // Returns when everything that was given to Run() has run.
  void Stop();

 private:
  // With the lock. False where there can be no more.
  bool AddThread();
  void Loop();

  const size_t most_threads_;
  const size_t most_queued_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool stopped_ = false;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_CALL_THREADS_H_
