#ifndef HANDOFF_INTEGRATIONS_GRPC_GRPC_ACCEPTOR_H_
#define HANDOFF_INTEGRATIONS_GRPC_GRPC_ACCEPTOR_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/handoff.h"

namespace handoff {

// Accepts from listeners that handoff owns and gives the connections to gRPC
// servers, so that the listeners can be handed over, and no call fails. It is a
// thread, and the handoff::Group of that thread; README.md has a whole program.
//
//   acceptor = GrpcAcceptor::Create("grpc", 10000)  // before anything of gRPC
//   options.state_types.push_back(acceptor->state_type());
//   handoff = Handoff::Start(options)
//   connections = acceptor->AddTo(builder, credentials)
//   server = builder.BuildAndStart()  // with a service, else it does not start
//   acceptor->Register(*handoff)
//   acceptor->Listen("grpc", *handoff->Listen("grpc", address),
//                    connections.get())
//   handoff->Ready()
//   acceptor->Start({server.get()})
//   handoff->Wait()
//   acceptor->BeginDrain()  // where Wait() says kStopped
//   acceptor->AwaitDrained(timeout)
//   acceptor->Stop(); server->Shutdown(now); then the Handoff ends
//
// Each connection is a session with one descriptor, "client", which is a
// duplicate: gRPC owns what it was given, and closes it. HTTP/2 cannot change
// process, so the session is kept: gRPC's threads go on serving it in this
// process, also while the group is frozen. The session ends when the connection
// is shut down, by whichever side.
//
// Once the watch is over (Drain) the servers' health says NOT_SERVING and every
// client is asked to leave: calls under way and open streams go on to their
// end, new calls go to a new connection, which the successor accepts.
//
// Thread-safety: each call says when. The listeners are borrowed, and so are
// servers and acceptors of connections, which outlive Stop().
class GrpcAcceptor final : public Group {
 public:
  // The acceptor of a server (AddTo), which is to have an accepted connection;
  // nullptr closes it. `connection` is borrowed, non-blocking, and nothing has
  // been read from it. Runs on this group's thread: must not block.
  using Route = std::function<::grpc::experimental::ExternalConnectionAcceptor*(
      int connection)>;

  // `session_type` is that of the sessions, in the ledger for instance. At
  // `max_connections` nothing is accepted until one ends; each costs two
  // descriptors. Call it before anything of gRPC is used: leave_timers.h.
  // Makes the thread too, which waits for Start(): if it could not be made after
  // the commit, there would be no way back. RESOURCE_EXHAUSTED where no
  // descriptor is left, or there can be no more threads.
  static absl::StatusOr<std::unique_ptr<GrpcAcceptor>> Create(
      absl::string_view session_type, size_t max_connections);
  ~GrpcAcceptor() override;

  // For Options::state_types.
  StateType state_type() const { return {session_type_}; }

  // Has the server take connections with these credentials. A server may have
  // several, and a port of its own too.
  static std::unique_ptr<::grpc::experimental::ExternalConnectionAcceptor>
  AddTo(::grpc::ServerBuilder& builder,
        std::shared_ptr<::grpc::ServerCredentials> credentials);

  // Before Ready(). `in_front`: a group that the library calls in place of this
  // one, and that hands on what it does not do itself.
  void Register(Handoff& handoff, Group* in_front = nullptr);
  // `name` is the one that Handoff::Listen() was given.
  void Listen(absl::string_view name, int listener, Route route);
  void Listen(absl::string_view name, int listener,
              ::grpc::experimental::ExternalConnectionAcceptor* connections);

  // After Ready(): serves. `servers` are those whose health is to be told.
  void Start(std::vector<::grpc::Server*> servers);

  // For SIGTERM, after Start(): accepts no more, and does what Drain() does.
  void BeginDrain();
  // Then blocks until every connection has ended, at most `timeout`. Returns
  // how many are left.
  size_t AwaitDrained(absl::Duration timeout);
  // Makes AwaitDrained() wait no longer. Any thread.
  void EndDrain();

  // Ends the thread: accepts no more, touches no connection. After Wait(), and
  // before a server is shut down: it would leak what it is given then.
  void Stop();

  // Group:
  void Post(std::function<void()> fn) override;
  absl::Status Snapshot(Session& session, SessionWriter& writer) override;
  void Quiesce() override;
  void Thaw() override;
  void Release(absl::Span<const std::shared_ptr<Session>> moved,
               absl::Span<const std::string> unclaimed) override;
  void Drain() override;
  // gRPC asks all clients or none, so others are asked too; they come back.
  void DrainSession(Session& session, bool at_once) override;
  bool SetAccepting(bool accepting) override;

 private:
  struct Listener {
    std::string name;
    int fd = -1;
    Route route;
    bool released = false;  // a successor has it
    bool polled = false;    // it is in epoll_
  };

  GrpcAcceptor(absl::string_view session_type, size_t max_connections,
               UniqueFd epoll, UniqueFd wake);

  void Run();
  void RunPosted();
  bool MayAccept(const Listener& listener) const;
  // Has epoll report the listeners that may accept, and no others.
  void PollListeners();
  void Accept(Listener& listener);
  // False where no more can be accepted for now.
  bool AcceptOne(Listener& listener);
  void Pause(int error);
  bool paused() const { return paused_until_ != absl::InfinitePast(); }
  // Of epoll_wait(2): until the pause is over, or for good.
  int WaitMilliseconds() const;
  void OnEvent(uint64_t key);
  void SetCount();

  const std::string session_type_;
  const size_t max_connections_;
  const UniqueFd epoll_;
  const UniqueFd wake_;
  GroupHandle* handle_ = nullptr;
  std::vector<::grpc::Server*> servers_;  // set before started_
  std::thread thread_;

  // Of the thread alone, once it runs:
  std::vector<Listener> listeners_;
  // By session id.
  absl::flat_hash_map<uint64_t, std::shared_ptr<Session>> sessions_;
  bool quiesced_ = false;
  bool accepting_ = true;  // as SetAccepting() says
  bool ended_accepting_ = false;
  bool asked_to_leave_ = false;  // in this turn of the loop
  // Out of descriptors or memory; InfinitePast: not.
  absl::Time paused_until_ = absl::InfinitePast();

  std::mutex mutex_;
  std::condition_variable started_or_stopping_;
  std::condition_variable none_left_;
  std::vector<std::function<void()>> posted_;
  size_t count_ = 0;  // of sessions_
  bool started_ = false;
  bool drain_begun_ = false;
  bool end_drain_ = false;
  bool stopping_ = false;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_GRPC_GRPC_ACCEPTOR_H_
