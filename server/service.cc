#include "server/service.h"

#include <algorithm>

#include "server/peer.h"

namespace handoff::server {

Service::Service(ServiceInfo* info, Rooms* rooms, int workers,
                 size_t max_connections)
    : info_(info), count_(max_connections) {
  for (int i = 0; i < workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(info, &count_, rooms));
  }
}

Service::~Service() { Stop(); }

void Service::Register(Handoff& handoff) {
  for (auto& worker : workers_) {
    worker->SetHandle(handoff.Register(worker.get()));
  }
}

void Service::Listen(const Handoff::Shards& shards) {
  for (size_t i = 0; i < workers_.size(); ++i) {
    for (const int fd : shards[i % shards.size()]) workers_[i]->Listen(fd);
  }
}

absl::Status Service::Restore(const std::shared_ptr<Session>& session,
                              const SessionSnapshot& snapshot) {
  Worker*& worker = restored_[session->id()];
  if (worker == nullptr) {
    worker = std::min_element(workers_.begin(), workers_.end(),
                              [](const auto& a, const auto& b) {
                                return a->size() < b->size();
                              })
                 ->get();
  }
  absl::Status restored = worker->Restore(session, snapshot);
  if (!restored.ok()) restored_.erase(session->id());
  return restored;
}

void Service::Drop(Session& session) {
  const auto it = restored_.find(session.id());
  if (it == restored_.end()) return;
  it->second->Drop(session);
  restored_.erase(it);
}

void Service::StartThreads() {
  for (auto& worker : workers_) {
    threads_.emplace_back([this, worker = worker.get()] {
      serve_.wait();
      worker->Run();
    });
  }
}

void Service::Serve() {
  restored_.clear();
  serve_.count_down();
}

void Service::OnAll(void (Worker::*step)()) {
  // Shared, because the last to count down may still be in it when wait()
  // returns.
  const auto done = std::make_shared<std::latch>(
      static_cast<std::ptrdiff_t>(workers_.size()));
  for (auto& worker : workers_) {
    worker->handle()->Post([worker = worker.get(), step, done] {
      (worker->*step)();
      done->count_down();
    });
  }
  done->wait();
}

size_t Service::Drain(absl::Duration timeout) {
  const absl::Time until = MonotonicNow() + timeout;
  info_->mode = Mode::kDraining;
  OnAll(&Worker::Drain);
  size_t left = count_.WaitForNone(timeout);
  if (left == 0) {
    // One may have been accepted since, and is owed its answer.
    OnAll(&Worker::EndAccepting);
    left = count_.WaitForNone(until - MonotonicNow());
  }
  if (left > 0) OnAll(&Worker::CloseAll);
  return left;
}

void Service::Stop() {
  if (stopped_) return;
  stopped_ = true;
  for (auto& worker : workers_) worker->Stop();
  // Threads that never served run into a loop that is stopped.
  if (!serve_.try_wait()) serve_.count_down();
  for (auto& thread : threads_) thread.join();
  for (auto& worker : workers_) worker->Unregister();
}

}  // namespace handoff::server
