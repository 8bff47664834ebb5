#include "server/worker.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/log.h"

namespace handoff::server {
namespace {

// How late a timeout may act. Also how long accepting pauses where it cannot go
// on: at the limit of connections, or without a free descriptor.
constexpr std::chrono::milliseconds kSweepInterval(100);

// So that of several workers that wake up one does not take all.
constexpr int kAcceptsPerTurn = 8;

}  // namespace

Worker::Worker(ServiceInfo* info, ConnectionCount* count, Rooms* rooms)
    : info_(info), count_(count), desk_(rooms) {}

Worker::~Worker() { Unregister(); }

void Worker::SetHandle(GroupHandle* handle) {
  handle_ = handle;
  // Counted, so that a cut waits for what is said.
  desk_.rooms().SetWake(desk_.worker(),
                        [this] { handle_->Post([this] { desk_.Deliver(); }); });
}

void Worker::Listen(int listener) {
  listeners_.emplace_back(listener, loop_);
  WaitToAccept();
}

absl::Status Worker::Restore(const std::shared_ptr<Session>& session,
                             const SessionSnapshot& snapshot) {
  const auto it = peers_.find(session->id());
  if (it != peers_.end()) {
    absl::Status restored = it->second->Restore(snapshot);
    // Half restored it must not serve, whatever becomes of the handoff.
    if (!restored.ok()) Drop(*session);
    return restored;
  }
  auto peer = MakePeer(session);
  if (absl::Status s = peer->Restore(snapshot); !s.ok()) {
    peer->Unregister();
    return s;
  }
  peers_.emplace(session->id(), std::move(peer));
  count_->Add();
  handle_->Adopt(*session);
  return absl::OkStatus();
}

void Worker::Drop(const Session& session) {
  const auto it = peers_.find(session.id());
  if (it == peers_.end()) return;
  it->second->Unregister();
  peers_.erase(it);
  count_->Remove();
}

std::shared_ptr<Peer> Worker::MakePeer(std::shared_ptr<Session> session) {
  Peer::Keeper* keeper = this;
  return std::make_shared<Peer>(keeper, &loop_, info_, &scratch_,
                                std::move(session));
}

void Worker::Run() {
  WaitToSweep();
  loop_.run();
}

void Worker::Stop() { loop_.stop(); }

void Worker::Unregister() {
  StopWaiting();
  for (auto& [id, peer] : peers_) peer->Unregister();
}

void Worker::Drain() {
  // After a handoff, when the watch is over.
  Mode retiring = Mode::kRetiring;
  info_->mode.compare_exchange_strong(retiring, Mode::kDraining);
  const absl::Time now = MonotonicNow();
  for (auto& peer : AllPeers()) peer->OnDrain(now);
}

void Worker::DrainSession(Session& session, bool at_once) {
  const auto it = peers_.find(session.id());
  if (it == peers_.end()) return;
  const std::shared_ptr<Peer> peer = it->second;  // ending it changes the map
  at_once ? peer->Close() : peer->OnDrain(MonotonicNow());
}

bool Worker::SetAccepting(bool accepting) {
  switched_off_ = !accepting;
  if (switched_off_) StopWaiting();
  WaitToAccept();
  return !listeners_.empty();
}

void Worker::EndAccepting() {
  // Those that the kernel has accepted already: what is left in its queue is
  // reset when the process ends.
  for (Listener& listener : listeners_) Accept(listener);
  ended_accepting_ = true;
  StopAccepting();
}

void Worker::StopAccepting() {
  accepting_ = false;
  StopWaiting();
}

void Worker::StopWaiting() {
  for (Listener& listener : listeners_) {
    if (listener.readiness.is_open()) listener.readiness.release();
    listener.waits = false;
  }
}

void Worker::CloseAll() {
  ended_accepting_ = true;
  StopAccepting();
  for (auto& peer : AllPeers()) peer->Close();
}

void Worker::OnEnded(Peer& peer) {
  peers_.erase(peer.id());
  count_->Remove();
  WaitToAccept();  // there may be room again
}

void Worker::WaitToAccept() {
  for (Listener& listener : listeners_) WaitToAccept(listener);
}

void Worker::WaitToAccept(Listener& listener) {
  if (!may_accept() || listener.waits) return;
  if (!listener.readiness.is_open()) {
    boost::system::error_code error;
    listener.readiness.assign(listener.fd, error);
    if (error) {
      Log("accept",
          absl::StrCat("cannot wait for connections: ", error.message()),
          Level::kWarning);
      return;
    }
  }
  listener.waits = true;
  listener.readiness.async_wait(
      boost::asio::posix::stream_descriptor::wait_read,
      [this, &listener](const boost::system::error_code& error) {
        if (error == boost::asio::error::operation_aborted) return;
        listener.waits = false;
        Accept(listener);
      });
}

void Worker::Accept(Listener& listener) {
  if (!may_accept()) return;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    // The sweep tries again.
    if (!count_->TryAdd()) return;
    if (!AcceptOne(listener.fd)) {
      count_->Remove();
      if (short_of_resources_) return;
      break;
    }
  }
  WaitToAccept(listener);
}

bool Worker::AcceptOne(int listener) {
  UniqueFd client(
      accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client) {
    // Errors of a connection that has ended already come here too (accept(2)):
    // then the next wait reports what else there is.
    const bool was_short = short_of_resources_;
    short_of_resources_ = errno == EMFILE || errno == ENFILE ||
                          errno == ENOBUFS || errno == ENOMEM;
    if (short_of_resources_ && !was_short) {
      Log("accept", absl::StrCat("accepting pauses: ", strerror(errno)),
          Level::kWarning);
    }
    return false;
  }
  short_of_resources_ = false;
  const int on = 1;
  // Fails on a Unix socket, which needs none.
  setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

  std::vector<NamedFd> descriptors;
  descriptors.push_back({kClient, std::move(client)});
  std::shared_ptr<Session> session =
      handle_->Open(kHttp, std::move(descriptors));
  auto peer = MakePeer(session);
  if (absl::Status s = peer->Open(); !s.ok()) {
    Log("lost", absl::StrCat("a connection: ", s.ToString()), Level::kWarning);
    session->Reset();
    return false;
  }
  peers_.emplace(session->id(), std::move(peer));
  return true;
}

void Worker::WaitToSweep() {
  sweep_timer_.expires_after(kSweepInterval);
  sweep_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    if (!quiesced_) Sweep();
    WaitToSweep();
  });
}

void Worker::Sweep() {
  const absl::Time now = MonotonicNow();
  std::vector<std::shared_ptr<Peer>> due;
  for (auto& [id, peer] : peers_) {
    if (now >= peer->deadline()) due.push_back(peer);
  }
  for (auto& peer : due) peer->OnTime(now);
  WaitToAccept();
}

std::vector<std::shared_ptr<Peer>> Worker::AllPeers() const {
  std::vector<std::shared_ptr<Peer>> peers;
  for (auto& [id, peer] : peers_) peers.push_back(peer);
  return peers;
}

void Worker::ArmAll() {
  for (auto& [id, peer] : peers_) peer->Arm();
}

void Worker::Post(std::function<void()> fn) {
  boost::asio::post(loop_, std::move(fn));
}

absl::Status Worker::Snapshot(Session& session, SessionWriter& writer) {
  const auto it = peers_.find(session.id());
  if (it == peers_.end()) {
    return absl::InternalError("a session that its worker does not know");
  }
  return it->second->Save(writer, &state_);
}

// The waits stay as they are: what they report from now on is let pass, and
// Thaw waits anew for it.
void Worker::Quiesce() { quiesced_ = true; }

void Worker::Thaw() {
  quiesced_ = false;
  // Where the successor crashed after the commit, this process serves again.
  Mode retiring = Mode::kRetiring;
  info_->mode.compare_exchange_strong(retiring, Mode::kServing);
  accepting_ = !ended_accepting_;
  ArmAll();
  WaitToAccept();
}

void Worker::Release(absl::Span<const std::shared_ptr<Session>> moved,
                     absl::Span<const std::string> unclaimed) {
  for (const std::shared_ptr<Session>& session : moved) Drop(*session);
  Mode serving = Mode::kServing;
  info_->mode.compare_exchange_strong(serving, Mode::kRetiring);
  quiesced_ = false;
  accepting_ =
      !ended_accepting_ &&
      std::find(unclaimed.begin(), unclaimed.end(), kHttp) != unclaimed.end();
  if (!accepting_) StopAccepting();
  ArmAll();
  // The rooms are the successor's: nobody is to talk to one that is not.
  const absl::Time now = MonotonicNow();
  for (auto& peer : AllPeers()) peer->OnRetire(now);
  WaitToAccept();
}

void Worker::TakeBack(const std::shared_ptr<Session>& session,
                      const SessionSnapshot& snapshot) {
  const absl::Status restored = Restore(session, snapshot);
  if (restored.ok()) {
    peers_.at(session->id())->Arm();
  } else {
    Log("lost", absl::StrCat("a connection: ", restored.ToString()),
        Level::kWarning);
    session->Reset();
  }
}

}  // namespace handoff::server
