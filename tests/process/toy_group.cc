#include "tests/process/toy_group.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <numeric>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "handoff/fd/fd_description.h"

namespace handoff::toy {
namespace {

// Tags of epoll entries that are no session's; ids begin at 2^40.
constexpr uint64_t kWakeTag = 0;
constexpr uint64_t kListenerTag = 1;  // and up, by index

}  // namespace

std::string FloodPattern(size_t bytes) {
  std::string pattern(bytes, 'a');
  for (size_t i = 0; i < bytes; ++i) {
    pattern[i] = static_cast<char>('a' + (i + i / 26 + i / 1000) % 26);
  }
  return pattern;
}

ToyGroup::ToyGroup(ToyWorld* world, int index)
    : world_(world),
      index_(index),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  Watch(EPOLL_CTL_ADD, wake_, EPOLLIN, kWakeTag);
}

ToyGroup::~ToyGroup() {
  Join();
  ::close(epoll_);
  ::close(wake_);
}

void ToyGroup::Watch(int op, int fd, uint32_t events, uint64_t tag) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = tag;
  ::epoll_ctl(epoll_, op, fd, &event);
}

void ToyGroup::AddListener(int fd) {
  Watch(EPOLL_CTL_ADD, fd, EPOLLIN, kListenerTag + listeners_.size());
  listeners_.push_back(fd);
}

void ToyGroup::Run() {
  thread_ = std::thread([this] { Loop(); });
}

void ToyGroup::Join() {
  quit_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_, &one, sizeof(one));
  if (thread_.joinable()) thread_.join();
}

void ToyGroup::Post(std::function<void()> fn) {
  {
    std::lock_guard<std::mutex> lock(mu_);
    posted_.push_back(std::move(fn));
  }
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_, &one, sizeof(one));
}

void ToyGroup::RunPosted() {
  std::deque<std::function<void()>> batch;
  {
    std::lock_guard<std::mutex> lock(mu_);
    batch.swap(posted_);
  }
  for (auto& fn : batch) fn();
}

void ToyGroup::Loop() {
  while (!quit_) {
    epoll_event events[64];
    const int n = ::epoll_wait(epoll_, events, 64, -1);
    for (int i = 0; i < n; ++i) {
      const uint64_t tag = events[i].data.u64;
      if (tag == kWakeTag) {
        uint64_t count;
        [[maybe_unused]] ssize_t r = ::read(wake_, &count, sizeof(count));
      } else if (tag < kListenerTag + listeners_.size()) {
        if (accepting_) Accept(listeners_[tag - kListenerTag]);
      } else if (const auto it = clients_.find(tag); it != clients_.end()) {
        if ((events[i].events & EPOLLOUT) != 0) {
          Flush(it->second);
          EndIfDrained(it->second);
        }
        const auto again = clients_.find(tag);
        if (again != clients_.end() &&
            (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
          Read(again->second);
        }
      }
    }
    // The whole batch first: a cut parks this thread.
    RunPosted();
  }
}

void ToyGroup::Accept(int listener) {
  const int fd =
      ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  if (world_->send_buffer > 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &world_->send_buffer,
                 sizeof(world_->send_buffer));
  }
  std::vector<NamedFd> fds;
  fds.push_back({"client", UniqueFd(fd)});
  const auto session = handle_->Open("toy", std::move(fds));
  clients_[session->id()].session = session;
  Watch(EPOLL_CTL_ADD, fd, EPOLLIN, session->id());
}

void ToyGroup::Read(Client& client) {
  if (!taking_input_) return;
  char buffer[4096];
  const ssize_t n = ::read(client.session->fd("client"), buffer, sizeof(buffer));
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return End(client, false);
  client.session->Changed();
  client.input.append(buffer, static_cast<size_t>(n));
  client.state.set_consumed(client.state.consumed() + static_cast<size_t>(n));
  const uint64_t id = client.session->id();
  size_t end;
  while ((end = client.input.find('\n')) != std::string::npos) {
    const std::string line = client.input.substr(0, end);
    client.input.erase(0, end + 1);
    Handle(client, line);
    if (clients_.count(id) == 0) return;
  }
  Flush(client);
}

void ToyGroup::Handle(Client& client, const std::string& line) {
  ToyState& state = client.state;
  state.set_lines(state.lines() + 1);
  state.set_bytes(state.bytes() + line.size());
  ++world_->lines;
  Session& session = *client.session;
  uint64_t count = 0;
  if (absl::StartsWith(line, "echo ")) {
    absl::StrAppend(&client.output, line, "\n");
  } else if (line == "who") {
    absl::StrAppend(&client.output, ::getpid(), " ", world_->generation, " ",
                    session.handoffs(), " ", state.lines(), "\n");
  } else if (line == "total") {
    absl::StrAppend(&client.output, world_->lines.load(), "\n");
  } else if (line == "post") {
    // Round through every other group, then back to this one.
    auto hop = std::make_shared<std::function<void(size_t)>>();
    *hop = [this, id = session.id(), hop](size_t left) {
      if (left == 0) {
        const auto it = clients_.find(id);
        if (it != clients_.end()) {
          it->second.session->Changed();
          it->second.output += "posted\n";
          Flush(it->second);
        }
        *hop = nullptr;
        return;
      }
      const size_t next = (index_ + world_->handles.size() - left + 1) %
                          world_->handles.size();
      world_->handles[next]->Post([hop, left] { (*hop)(left - 1); });
    };
    (*hop)(world_->handles.size());
  } else if (absl::StartsWith(line, "ballast ") &&
             absl::SimpleAtoi(line.substr(8), &count)) {
    state.mutable_ballast()->clear();
    for (uint64_t i = 0; i < count; ++i) {
      state.mutable_ballast()->push_back(static_cast<char>(i * 31));
    }
    client.output += "ok\n";
  } else if (line == "weigh") {
    absl::StrAppend(&client.output, state.ballast().size(), " ",
                    std::accumulate(state.ballast().begin(),
                                    state.ballast().end(), uint64_t{0},
                                    [](uint64_t sum, char c) {
                                      return sum + static_cast<uint8_t>(c);
                                    }),
                    "\n");
  } else if (absl::StartsWith(line, "flood ") &&
             absl::SimpleAtoi(line.substr(6), &count)) {
    absl::StrAppend(&client.output, FloodPattern(count), "\n");
  } else if (line == "count") {
    const auto kernel = ReadTcpCounters(session.fd("client"));
    absl::StrAppend(&client.output, session.id(), " ", state.consumed(), " ",
                    state.written(), " ", client.output.size(), " ",
                    kernel.ok() ? kernel->consumed() : 0, " ",
                    kernel.ok() ? kernel->written() : 0, "\n");
  } else if (line == "poison") {
    state.set_poison(true);
    client.output += "ok\n";
  } else if (line == "keep") {
    session.Keep("asked to stay");
    client.output += "ok\n";
  } else if (line == "close" || line == "reset") {
    Flush(client);
    End(client, line == "reset");
  } else {
    client.output += "what?\n";
  }
}

void ToyGroup::Flush(Client& client) {
  const int fd = client.session->fd("client");
  while (!client.output.empty()) {
    const ssize_t n = ::send(fd, client.output.data(), client.output.size(),
                             MSG_NOSIGNAL);
    if (n <= 0) break;
    client.output.erase(0, static_cast<size_t>(n));
    client.state.set_written(client.state.written() + static_cast<size_t>(n));
    client.session->Changed();
  }
  Watch(EPOLL_CTL_MOD, fd, client.output.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT,
        client.session->id());
}

void ToyGroup::EndIfDrained(Client& client) {
  if (client.ending && client.output.empty()) End(client, false);
}

void ToyGroup::DrainSession(Session& session, bool at_once) {
  const auto it = clients_.find(session.id());
  if (it == clients_.end()) return;
  if (at_once) return End(it->second, true);
  it->second.ending = true;
  EndIfDrained(it->second);
}

bool ToyGroup::SetAccepting(bool accepting) {
  // Level-triggered: what waits would be reported without end.
  for (size_t i = 0; i < listeners_.size(); ++i) {
    Watch(accepting ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listeners_[i], EPOLLIN,
          kListenerTag + i);
  }
  return !listeners_.empty();
}

void ToyGroup::End(Client& client, bool reset) {
  const std::shared_ptr<Session> session = client.session;
  Watch(EPOLL_CTL_DEL, session->fd("client"), 0, 0);
  clients_.erase(session->id());
  reset ? session->Reset() : session->Close();
}

void ToyGroup::Restore(const std::shared_ptr<Session>& session,
                       const SessionSnapshot& snapshot) {
  handle_->Adopt(*session);
  const bool first = clients_.count(session->id()) == 0;
  Client& client = clients_[session->id()];
  client.session = session;
  client.input = std::string(snapshot.input("client"));
  client.output = std::string(snapshot.output("client"));
  client.state.Clear();
  snapshot.state.UnpackTo(&client.state);
  if (client.state.poison()) ::raise(SIGKILL);
  Watch(first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, session->fd("client"),
        client.output.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT, session->id());
}

void ToyGroup::Drop(Session& session) {
  Watch(EPOLL_CTL_DEL, session.fd("client"), 0, 0);
  clients_.erase(session.id());
}

absl::Status ToyGroup::Snapshot(Session& session, SessionWriter& writer) {
  const auto it = clients_.find(session.id());
  if (it == clients_.end()) return absl::InternalError("no such session");
  ToyState state = it->second.state;
  if (writer.version() < 2) state.clear_bytes();
  writer.State(state);
  writer.Input("client", it->second.input);
  writer.Output("client", it->second.output);
  return absl::OkStatus();
}

void ToyGroup::Quiesce() {
  taking_input_ = false;
  accepting_ = false;
  if (world_->ring != nullptr) world_->ring->Rest(static_cast<size_t>(index_));
  if (!world_->hang_in_quiesce) return;
  // Until the process is told to end: this group never answers again.
  while (!quit_) std::this_thread::yield();
}

void ToyGroup::Thaw() {
  taking_input_ = true;
  accepting_ = true;
  if (world_->ring != nullptr) world_->ring->GoOn(static_cast<size_t>(index_));
}

void ToyGroup::Release(absl::Span<const std::shared_ptr<Session>> moved,
                       absl::Span<const std::string>) {
  for (const auto& session : moved) {
    Watch(EPOLL_CTL_DEL, session->fd("client"), 0, 0);
    clients_.erase(session->id());
  }
  taking_input_ = true;  // for what was kept
}

void ToyGroup::Drain() {
  if (!world_->farewell) return;
  while (!clients_.empty()) {
    Client& client = clients_.begin()->second;
    client.output += "bye\n";
    Flush(client);
    End(client, false);
  }
}

}  // namespace handoff::toy
