#include "handoff/integrations/grpc/grpc_acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpc/support/log.h"
#include "grpcpp/health_check_service_interface.h"
#include "handoff/clock.h"
#include "handoff/integrations/grpc/leave_timers.h"

namespace handoff {
namespace {

constexpr char kClient[] = "client";

// What epoll reports: a session by its id, whose upper bits are a generation
// and never all set; a listener by its place in the list; or the eventfd.
constexpr uint64_t kListenerKeys = uint64_t{1} << 63;
constexpr uint64_t kWakeKey = ~uint64_t{0};

// How long accepting pauses without a free descriptor or memory.
constexpr absl::Duration kPause = absl::Milliseconds(100);
// So that posted work is not kept waiting by a crowd.
constexpr int kAcceptsPerTurn = 32;
constexpr int kEventsPerTurn = 64;

bool Poll(int epoll, int operation, int fd, uint32_t events, uint64_t key) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = key;
  return epoll_ctl(epoll, operation, fd, &event) == 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcAcceptor>> GrpcAcceptor::Create(
    absl::string_view session_type, size_t max_connections) {
  InstallLeaveTimers();
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return absl::ErrnoToStatus(errno, "epoll_create1");
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return absl::ErrnoToStatus(errno, "eventfd");
  if (!Poll(epoll.get(), EPOLL_CTL_ADD, wake.get(), EPOLLIN, kWakeKey)) {
    return absl::ErrnoToStatus(errno, "epoll_ctl");
  }
  std::unique_ptr<GrpcAcceptor> made(new GrpcAcceptor(
      session_type, max_connections, std::move(epoll), std::move(wake)));
  try {
    made->thread_ = std::thread([acceptor = made.get()] { acceptor->Run(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there can be no more threads: ", error.what()));
  }
  return made;
}

GrpcAcceptor::GrpcAcceptor(absl::string_view session_type,
                           size_t max_connections, UniqueFd epoll,
                           UniqueFd wake)
    : session_type_(session_type),
      max_connections_(max_connections),
      epoll_(std::move(epoll)),
      wake_(std::move(wake)) {}

GrpcAcceptor::~GrpcAcceptor() { Stop(); }

std::unique_ptr<::grpc::experimental::ExternalConnectionAcceptor>
GrpcAcceptor::AddTo(::grpc::ServerBuilder& builder,
                    std::shared_ptr<::grpc::ServerCredentials> credentials) {
  AddLeaveTimersTo(builder);
  return builder.experimental().AddExternalConnectionAcceptor(
      ::grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      std::move(credentials));
}

void GrpcAcceptor::Register(Handoff& handoff, Group* in_front) {
  handle_ = handoff.Register(in_front == nullptr ? this : in_front);
}

void GrpcAcceptor::Listen(absl::string_view name, int listener, Route route) {
  Listener added;
  added.name = std::string(name);
  added.fd = listener;
  added.route = std::move(route);
  listeners_.push_back(std::move(added));
}

void GrpcAcceptor::Listen(
    absl::string_view name, int listener,
    ::grpc::experimental::ExternalConnectionAcceptor* connections) {
  Listen(name, listener, [connections](int) { return connections; });
}

void GrpcAcceptor::Start(std::vector<::grpc::Server*> servers) {
  std::lock_guard<std::mutex> lock(mutex_);
  servers_ = std::move(servers);
  started_ = true;
  started_or_stopping_.notify_one();
}

void GrpcAcceptor::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    started_or_stopping_.notify_one();
  }
  Post([] {});
  if (thread_.joinable()) thread_.join();
}

void GrpcAcceptor::BeginDrain() {
  Post([this] {
    // What the kernel has accepted already, before it is reset at our end.
    for (Listener& listener : listeners_) {
      if (MayAccept(listener)) Accept(listener);
    }
    ended_accepting_ = true;
    PollListeners();
    Drain();
    std::lock_guard<std::mutex> lock(mutex_);
    drain_begun_ = true;
    none_left_.notify_all();
  });
}

size_t GrpcAcceptor::AwaitDrained(absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  none_left_.wait_for(lock, absl::ToChronoNanoseconds(timeout), [this] {
    return (drain_begun_ && count_ == 0) || end_drain_;
  });
  return count_;
}

void GrpcAcceptor::EndDrain() {
  std::lock_guard<std::mutex> lock(mutex_);
  end_drain_ = true;
  none_left_.notify_all();
}

void GrpcAcceptor::Post(std::function<void()> fn) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    posted_.push_back(std::move(fn));
  }
  const uint64_t one = 1;
  // EAGAIN: it is awake as it is.
  [[maybe_unused]] const ssize_t n = write(wake_.get(), &one, sizeof(one));
}

absl::Status GrpcAcceptor::Snapshot(Session& /*session*/,
                                    SessionWriter& /*writer*/) {
  return absl::OkStatus();  // all are kept
}

void GrpcAcceptor::Quiesce() {
  quiesced_ = true;
  PollListeners();
}

void GrpcAcceptor::Thaw() {
  quiesced_ = false;
  for (Listener& listener : listeners_) listener.released = false;
  PollListeners();
}

void GrpcAcceptor::Release(absl::Span<const std::shared_ptr<Session>> /*moved*/,
                           absl::Span<const std::string> unclaimed) {
  quiesced_ = false;
  for (Listener& listener : listeners_) {
    listener.released = std::find(unclaimed.begin(), unclaimed.end(),
                                  listener.name) == unclaimed.end();
  }
  PollListeners();
}

void GrpcAcceptor::Drain() {
  for (::grpc::Server* server : servers_) {
    auto* health = server->GetHealthCheckService();
    if (health != nullptr) health->SetServingStatus(false);
  }
  AskClientsToLeave(/*from_now_on=*/true);
  if (!sessions_.empty() && !LeaveTimersWork()) {
    gpr_log(GPR_ERROR,
            "handoff: gRPC was used before GrpcAcceptor::Create(): clients "
            "cannot be asked to leave, and lose calls when the server ends");
  }
}

void GrpcAcceptor::DrainSession(Session& session, bool at_once) {
  if (at_once) {
    // gRPC sees the end, and so does Run().
    shutdown(session.fd(kClient), SHUT_RDWR);
  } else if (!asked_to_leave_) {
    asked_to_leave_ = true;
    AskClientsToLeave(/*from_now_on=*/false);
  }
}

bool GrpcAcceptor::SetAccepting(bool accepting) {
  accepting_ = accepting;
  PollListeners();
  return true;
}

void GrpcAcceptor::Run() {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    started_or_stopping_.wait(lock, [this] { return started_ || stopping_; });
    if (stopping_) return;
  }
  PollListeners();
  while (true) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
    }
    epoll_event events[kEventsPerTurn];
    const int n =
        epoll_wait(epoll_.get(), events, kEventsPerTurn, WaitMilliseconds());
    asked_to_leave_ = false;
    if (paused() && MonotonicNow() >= paused_until_) {
      paused_until_ = absl::InfinitePast();
      PollListeners();
    }
    bool woken = false;
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == kWakeKey) {
        woken = true;
      } else {
        OnEvent(events[i].data.u64);
      }
    }
    // Last, because it may stop the thread until other events are out of date.
    if (woken) RunPosted();
  }
}

void GrpcAcceptor::RunPosted() {
  uint64_t count;
  [[maybe_unused]] const ssize_t n = read(wake_.get(), &count, sizeof(count));
  std::vector<std::function<void()>> posted;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    posted.swap(posted_);
  }
  for (auto& fn : posted) fn();
}

void GrpcAcceptor::OnEvent(uint64_t key) {
  if (key >= kListenerKeys) {
    Listener& listener = listeners_[key - kListenerKeys];
    if (MayAccept(listener)) Accept(listener);
    return;
  }
  const auto it = sessions_.find(key);
  if (it == sessions_.end()) return;
  const std::shared_ptr<Session> session = std::move(it->second);
  sessions_.erase(it);
  Poll(epoll_.get(), EPOLL_CTL_DEL, session->fd(kClient), 0, 0);
  session->Close();
  SetCount();
  paused_until_ = absl::InfinitePast();  // there may be room again
  PollListeners();
}

bool GrpcAcceptor::MayAccept(const Listener& listener) const {
  return accepting_ && !quiesced_ && !ended_accepting_ && !paused() &&
         !listener.released && sessions_.size() < max_connections_;
}

void GrpcAcceptor::PollListeners() {
  for (size_t i = 0; i < listeners_.size(); ++i) {
    Listener& listener = listeners_[i];
    const bool wanted = MayAccept(listener);
    if (wanted == listener.polled) continue;
    listener.polled = wanted;
    if (!Poll(epoll_.get(), wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener.fd,
              EPOLLIN, kListenerKeys + i)) {
      gpr_log(GPR_ERROR, "handoff: cannot wait at listener %s: %s",
              listener.name.c_str(), strerror(errno));
    }
  }
}

void GrpcAcceptor::Accept(Listener& listener) {
  for (int i = 0; i < kAcceptsPerTurn && MayAccept(listener); ++i) {
    if (!AcceptOne(listener)) break;
  }
  SetCount();
  PollListeners();
}

bool GrpcAcceptor::AcceptOne(Listener& listener) {
  // Holds the place of the duplicate in the table: who is accepted is not to be
  // dropped because there is none. Who is not accepted waits in the kernel.
  UniqueFd duplicate(fcntl(wake_.get(), F_DUPFD_CLOEXEC, 0));
  if (!duplicate) {
    Pause(errno);
    return false;
  }
  UniqueFd client(
      accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client) {
    // Errors of a connection that has ended already come here too (accept(2)):
    // the next turn reports what else there is.
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
        errno == ENOMEM) {
      Pause(errno);
    }
    return false;
  }
  auto* connections = listener.route(client.get());
  if (connections == nullptr) return true;
  const int on = 1;
  // gRPC does so for what it accepts itself. Fails on a Unix socket, which
  // needs none.
  setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

  if (dup3(client.get(), duplicate.get(), O_CLOEXEC) < 0) {
    Pause(errno);
    return false;
  }
  const int watched = duplicate.get();
  std::vector<NamedFd> descriptors;
  descriptors.push_back({kClient, std::move(duplicate)});
  std::shared_ptr<Session> session =
      handle_->Open(session_type_, std::move(descriptors));
  session->Keep("HTTP/2 cannot change process");
  // Ends and errors are reported without being asked for, and all that is
  // gRPC's is not. Whenever gRPC ends a connection it calls shutdown(2), which
  // every duplicate sees.
  if (!Poll(epoll_.get(), EPOLL_CTL_ADD, watched, 0, session->id())) {
    const int error = errno;
    session->Close();
    Pause(error);
    return false;
  }
  sessions_.emplace(session->id(), std::move(session));

  ::grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters
      connection;
  connection.fd = client.release();
  connections->HandleNewConnection(&connection);
  return true;
}

void GrpcAcceptor::Pause(int error) {
  paused_until_ = MonotonicNow() + kPause;
  gpr_log(GPR_ERROR, "handoff: accepting pauses: %s", strerror(error));
}

int GrpcAcceptor::WaitMilliseconds() const {
  if (!paused()) return -1;
  const absl::Duration left = paused_until_ - MonotonicNow();
  return static_cast<int>(std::max<int64_t>(
      0, absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)))));
}

void GrpcAcceptor::SetCount() {
  std::lock_guard<std::mutex> lock(mutex_);
  count_ = sessions_.size();
  if (count_ == 0) none_left_.notify_all();
}

}  // namespace handoff
