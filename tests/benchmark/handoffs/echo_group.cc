#include "tests/benchmark/handoffs/echo_group.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "tests/benchmark/handoffs/program.h"

namespace handoff::benchmark {
namespace {

// What an entry of epoll is for, where it is for no client.
char wake_mark;
char listener_mark;

void AddTo(const UniqueFd& epoll, int fd, void* mark) {
  epoll_event event = {EPOLLIN, {.ptr = mark}};
  Require(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0,
          "epoll_ctl");
}

}  // namespace

EchoGroup::EchoGroup(size_t state_bytes, size_t changes)
    : state_bytes_(state_bytes),
      changes_(changes),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  AddTo(epoll_, wake_.get(), &wake_mark);
}

EchoGroup::~EchoGroup() { End(); }

void EchoGroup::Listen(int listener) {
  listener_ = listener;
  AddTo(epoll_, listener, &listener_mark);
}

void EchoGroup::Run() {
  thread_ = std::thread([this] { Loop(); });
}

void EchoGroup::End() {
  ending_.store(true);
  ::eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

void EchoGroup::Post(std::function<void()> fn) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    posted_.push_back(std::move(fn));
  }
  ::eventfd_write(wake_.get(), 1);
}

void EchoGroup::RunPosted() {
  eventfd_t count;
  ::eventfd_read(wake_.get(), &count);
  std::unique_lock<std::mutex> lock(mu_);
  const auto posted = std::exchange(posted_, {});
  lock.unlock();
  for (const auto& fn : posted) fn();
}

void EchoGroup::Loop() {
  epoll_event events[256];
  while (!ending_.load()) {
    const int count = ::epoll_wait(epoll_.get(), events, 256, -1);
    bool woken = false;
    for (int i = 0; i < count; ++i) {
      void* const mark = events[i].data.ptr;
      if (mark == &wake_mark) {
        woken = true;
      } else if (mark == &listener_mark) {
        if (serves_ && accepts_) Accept();
      } else if (serves_) {
        Echo(*static_cast<Client*>(mark));
      }
    }
    // Last: what was polled before it is out of date after it.
    if (woken) RunPosted();
  }
}

void EchoGroup::Accept() {
  UniqueFd fd(
      ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) return;
  std::vector<NamedFd> fds(1);
  fds[0] = {"client", std::move(fd)};
  const auto session = handle_->Open(kSessionType, std::move(fds));
  Client& client = clients_[session->id()];
  client.session = session;
  client.state.set_value(std::string(state_bytes_, 's'));
  Register(client);
}

void EchoGroup::Register(Client& client) {
  client.fd = client.session->fd("client");
  if (!std::exchange(client.registered, true)) {
    AddTo(epoll_, client.fd, &client);
  }
}

void EchoGroup::Echo(Client& client) {
  char bytes[4096];
  const ssize_t n = ::recv(client.fd, bytes, sizeof(bytes), 0);
  if (n > 0) {
    // So little at a time that the kernel always has room for it.
    Require(::send(client.fd, bytes, static_cast<size_t>(n), MSG_NOSIGNAL) == n,
            "an echo cannot be sent");
    client.session->Changed();
  } else if (n == 0 || errno != EAGAIN) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, client.fd, nullptr);
    client.session->Close();
    clients_.erase(client.session->id());
  }
}

absl::Status EchoGroup::Snapshot(Session& session, SessionWriter& writer) {
  writer.State(clients_.at(session.id()).state);
  return absl::OkStatus();
}

void EchoGroup::Quiesce() {
  serves_ = false;
  size_t left = changes_;
  for (auto it = clients_.begin(); it != clients_.end() && left > 0; ++it) {
    it->second.session->Changed();
    --left;
  }
}

void EchoGroup::Thaw() { serves_ = true; }

void EchoGroup::Release(absl::Span<const std::shared_ptr<Session>>,
                        absl::Span<const std::string>) {
  clients_.clear();
  serves_ = true;
  accepts_ = false;
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  AddTo(epoll_, wake_.get(), &wake_mark);
}

absl::Status EchoGroup::Restore(const std::shared_ptr<Session>& session,
                                const SessionSnapshot& snapshot) {
  Client& client = clients_[session->id()];
  client.session = session;
  if (!snapshot.state.UnpackTo(&client.state)) {
    return absl::InvalidArgumentError("no BytesValue");
  }
  handle_->Adopt(*session);
  Register(client);
  return absl::OkStatus();
}

void EchoGroup::Drop(Session& session) {
  const auto it = clients_.find(session.id());
  if (it == clients_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.fd, nullptr);
  clients_.erase(it);
}

}  // namespace handoff::benchmark
