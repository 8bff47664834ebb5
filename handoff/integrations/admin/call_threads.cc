#include "handoff/integrations/admin/call_threads.h"

#include <system_error>
#include <utility>

namespace handoff {

bool CallThreads::Run(std::function<void()> call) {
  std::lock_guard<std::mutex> lock(mu_);
  if (stopped_) return false;
  // None of them is free for this one: it needs another, or waits.
  if (queue_.size() >= idle_ && !AddThread() &&
      (threads_.empty() || queue_.size() - idle_ >= most_queued_)) {
    return false;
  }
  queue_.push_back(std::move(call));
  changed_.notify_one();
  return true;
}

bool CallThreads::AddThread() {
  if (threads_.size() >= most_threads_) return false;
  try {
    threads_.emplace_back([this] { Loop(); });
  } catch (const std::system_error&) {
    return false;  // this process can have no more of them
  }
  ++idle_;  // until it takes something
  return true;
}

void CallThreads::Stop() {
  std::vector<std::thread> threads;
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    threads.swap(threads_);
  }
  changed_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void CallThreads::Loop() {
  std::unique_lock<std::mutex> lock(mu_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::function<void()> call = std::move(queue_.front());
    queue_.pop_front();
    --idle_;
    lock.unlock();
    call();
    call = nullptr;  // what it holds goes before it counts as done
    lock.lock();
    ++idle_;
  }
}

}  // namespace handoff
