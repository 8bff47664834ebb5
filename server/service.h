#ifndef HANDOFF_SERVER_SERVICE_H_
#define HANDOFF_SERVER_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "handoff/handoff.h"
#include "server/connection_count.h"
#include "server/rooms.h"
#include "server/service_info.h"
#include "server/worker.h"

namespace handoff::server {

// The workers and their threads, and how inherited connections come to them.
//
//   Register(), Listen(), Handoff::TakeSessions(), StartThreads(),
//   Handoff::Ready(), Serve(); then perhaps Drain(); Stop()
//
// Called by one thread; EndDrain() by any.
class Service final : public SessionReceiver {
 public:
  // `info` and `rooms` are borrowed and outlive this.
  Service(ServiceInfo* info, Rooms* rooms, int workers, size_t max_connections);
  ~Service() override;

  void Register(Handoff& handoff);
  // The workers have these in turn, so of one share all have all.
  void Listen(const Handoff::Shards& shards);

  // The threads are made before Ready() and wait: making them is no part of the
  // time in which nobody serves.
  void StartThreads();
  void Serve();

  // Lets answers in flight end, closes idle connections, and answers those that
  // come meanwhile, until there is none; after `timeout` closes the rest.
  // Returns how many had to be closed.
  size_t Drain(absl::Duration timeout);
  // Makes Drain() wait no longer.
  void EndDrain() { count_.StopWaiting(); }

  // Ends the loops, without touching a connection.
  void Stop();

  // SessionReceiver:
  absl::Status Restore(const std::shared_ptr<Session>& session,
                       const SessionSnapshot& snapshot) override;
  void Drop(Session& session) override;

 private:
  // Runs `step` on every worker's loop and waits until all have done it.
  void OnAll(void (Worker::*step)());

  ServiceInfo* const info_;
  ConnectionCount count_;
  std::vector<std::unique_ptr<Worker>> workers_;
  // Which worker has which inherited session, while the loops do not run.
  absl::flat_hash_map<uint64_t, Worker*> restored_;
  std::latch serve_{1};
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_SERVICE_H_
