#ifndef HANDOFF_SERVER_PEER_H_
#define HANDOFF_SERVER_PEER_H_

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "handoff/handoff.h"
#include "server/connection.h"
#include "server/connection_owner.h"
#include "server/server_state.pb.h"
#include "server/service_info.h"

namespace handoff::server {

// The descriptor that every session has: the client's socket.
inline constexpr char kClient[] = "client";

// CLOCK_MONOTONIC, as Connection wants it.
absl::Time MonotonicNow();

// One connection in an event loop: joins a Connection, which knows no loop, to
// a handoff::Session, which owns the descriptors, and to Asio, which waits for
// them and does nothing else: no operation of Asio's reads, writes or closes.
//
// Lives as long as a shared_ptr to it: the loop's, or that of a wait which has
// not yet called back. For the loop's thread, and before the loop runs for the
// thread that restores.
class Peer final : public ConnectionOwner,
                   public std::enable_shared_from_this<Peer> {
 public:
  // Of one worker, for all its peers; outlives them.
  class Keeper {
   public:
    virtual ~Keeper() = default;
    // Between Quiesce and Thaw nothing that a wait reports may be acted on.
    virtual bool quiesced() const = 0;
    // The session has ended; the peer can be forgotten.
    virtual void OnEnded(Peer& peer) = 0;
    virtual ChatDesk* desk() = 0;
  };

  Peer(Keeper* keeper, boost::asio::io_context* loop, const ServiceInfo* info,
       Scratch* scratch, std::shared_ptr<Session> session);
  ~Peer() override;

  // Begins with a connection that was just accepted.
  absl::Status Open();
  // Begins, or begins again, with what a predecessor wrote.
  absl::Status Restore(const SessionSnapshot& snapshot);
  absl::Status Save(SessionWriter& writer, v1::HttpConnection* state) const;

  // Waits for what the connection wants. Does nothing for what is waited for
  // already, so it is also how to go on after Thaw.
  void Arm();
  // Takes the descriptors back from Asio, and the client out of its rooms. Does
  // not touch them otherwise.
  void Unregister();

  absl::Time deadline() const { return connection_->deadline(); }
  void OnTime(absl::Time now) { Act(connection_->OnTime(now)); }
  void OnDrain(absl::Time now) { Act(connection_->OnDrain(now)); }
  void OnRetire(absl::Time now) { Act(connection_->OnRetire(now)); }
  // Unregisters, and closes the session.
  void Close();

  // ConnectionOwner:
  uint64_t id() const override { return session_->id(); }
  uint32_t handoffs() const override { return session_->handoffs(); }
  void Changed() override { changed_ = true; }
  void WriteSoon() override;
  ChatDesk* desk() override { return keeper_->desk(); }
  absl::StatusOr<int> KeepBody(UniqueFd file) override;
  void CloseBody() override;

 private:
  using Wait = boost::asio::posix::stream_descriptor::wait_type;

  absl::Status Register();
  void WaitFor(Wait what);
  void OnReady(Wait what);
  void WaitUntil(absl::Time when);
  void Act(Connection::Next next);

  Keeper* const keeper_;
  boost::asio::io_context* const loop_;
  const ServiceInfo* const info_;
  Scratch* const scratch_;
  const std::shared_ptr<Session> session_;
  boost::asio::posix::stream_descriptor socket_;
  std::optional<Connection> connection_;
  bool waits_to_read_ = false;
  bool waits_to_write_ = false;
  // Of a stream that has to pause; most connections never need one.
  std::optional<boost::asio::steady_timer> timer_;
  absl::Time timer_at_ = absl::InfiniteFuture();
  // Session::Changed() takes a lock: it is called once for all that one event
  // changes.
  bool changed_ = false;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_PEER_H_
