#ifndef HANDOFF_SERVER_WORKER_H_
#define HANDOFF_SERVER_WORKER_H_

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "handoff/handoff.h"
#include "server/chat_desk.h"
#include "server/connection.h"
#include "server/connection_count.h"
#include "server/peer.h"
#include "server/rooms.h"
#include "server/server_state.pb.h"
#include "server/service_info.h"

namespace handoff::server {

// The name of the listener and of the sessions' type.
inline constexpr char kHttp[] = "http";

// One event loop with its connections: a handoff::Group. Workers share a
// listening socket, and whoever wakes up first accepts, or have some of their
// own.
//
// Run() is the loop's thread. What is marked "before" must have returned before
// Run() is called; what is marked "loop" is for the loop's thread; the rest is
// for any.
class Worker final : public Group, private Peer::Keeper {
 public:
  // All are borrowed and outlive this.
  Worker(ServiceInfo* info, ConnectionCount* count, Rooms* rooms);
  ~Worker() override;

  // Borrowed; accepts from it too once Run() runs. [before]
  void Listen(int listener);
  void SetHandle(GroupHandle* handle);
  GroupHandle* handle() const { return handle_; }

  // Puts a session in place, or again. After an error it is not there. [before]
  absl::Status Restore(const std::shared_ptr<Session>& session,
                       const SessionSnapshot& snapshot);
  void Drop(const Session& session);
  size_t size() const { return peers_.size(); }

  // Serves until Stop().
  void Run();
  void Stop();
  // Accepts what has come, and then no more. [loop]
  void EndAccepting();
  // Accepts no more and ends every connection. [loop]
  void CloseAll();
  // Takes all descriptors back from Asio, after Run() has returned.
  void Unregister();

  // Group:
  void Post(std::function<void()> fn) override;
  absl::Status Snapshot(Session& session, SessionWriter& writer) override;
  void Quiesce() override;
  void Thaw() override;
  void Release(absl::Span<const std::shared_ptr<Session>> moved,
               absl::Span<const std::string> unclaimed) override;
  // Closes what is idle. Where it accepts, it goes on, so that whoever asks is
  // told that this process drains.
  void Drain() override;
  void DrainSession(Session& session, bool at_once) override;
  bool SetAccepting(bool accepting) override;
  bool TakesBack() const override { return true; }
  void TakeBack(const std::shared_ptr<Session>& session,
                const SessionSnapshot& snapshot) override;

 private:
  // Peer::Keeper:
  bool quiesced() const override { return quiesced_; }
  void OnEnded(Peer& peer) override;
  ChatDesk* desk() override { return &desk_; }

  struct Listener {
    Listener(int listener, boost::asio::io_context& loop)
        : fd(listener), readiness(loop) {}

    const int fd;
    boost::asio::posix::stream_descriptor readiness;
    bool waits = false;
  };

  std::shared_ptr<Peer> MakePeer(std::shared_ptr<Session> session);
  void WaitToAccept();
  void WaitToAccept(Listener& listener);
  void Accept(Listener& listener);
  void StopAccepting();
  void StopWaiting();
  bool may_accept() const { return accepting_ && !switched_off_ && !quiesced_; }
  // False where no more can be accepted for now.
  bool AcceptOne(int listener);
  void ArmAll();
  // Ending a peer changes peers_.
  std::vector<std::shared_ptr<Peer>> AllPeers() const;
  void WaitToSweep();
  void Sweep();

  ServiceInfo* const info_;
  ConnectionCount* const count_;
  GroupHandle* handle_ = nullptr;
  ChatDesk desk_;

  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type>
      keeps_running_{loop_.get_executor()};
  std::deque<Listener> listeners_;  // waits hold references to them
  boost::asio::steady_timer sweep_timer_{loop_};

  // By session id.
  absl::flat_hash_map<uint64_t, std::shared_ptr<Peer>> peers_;
  Scratch scratch_;
  v1::HttpConnection state_;  // reused by Snapshot()

  bool accepting_ = true;
  bool ended_accepting_ = false;  // for good: a drain has ended
  bool switched_off_ = false;     // by an operator
  // The last accept failed for want of descriptors or memory, and it was
  // logged.
  bool short_of_resources_ = false;
  bool quiesced_ = false;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_WORKER_H_
