// Answers each line with its process id and the line. Started once more with
// the same arguments, it takes over from itself, with every open connection.

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>

#include "handoff/handoff.h"

using handoff::Session;

// A loop and its thread: the group of its clients, and how they come back.
class Echo : public handoff::Group, public handoff::SessionReceiver {
 public:
  absl::Status Start(handoff::Handoff& service, const char* address) {
    handle_ = service.Register(this);
    const absl::StatusOr<int> listener = service.Listen("echo", address);
    if (!listener.ok()) return listener.status();
    listener_ = *listener;
    const absl::Status restored = service.TakeSessions("echo", this);
    return restored.ok() ? service.Ready() : restored;
  }
  void Run(handoff::Handoff& service, int stop_signal) {
    while (running) {
      std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0},
                                    {stop_signal, POLLIN, 0},
                                    {serving_ ? listener_ : -1, POLLIN, 0}};
      for (const auto& [id, client] : clients_) {
        const int fd = serving_ ? client.session->fd("client") : -1;
        const short events = client.output.empty() ? POLLIN : POLLOUT;
        polled.push_back({fd, events, 0});
      }
      poll(polled.data(), polled.size(), -1);
      auto next = clients_.begin();
      for (size_t i = 3; i < polled.size(); ++i) {
        const auto client = next++;
        if (polled[i].revents != 0) Serve(client);
      }
      if (polled[2].revents != 0) Accept();
      if (polled[1].revents != 0) stop_signal = (service.Stop(), -1);
      if (polled[0].revents != 0) RunPosted();
    }
  }
  void Post(std::function<void()> fn) override {
    const std::lock_guard<std::mutex> lock(mu_);
    posted_.push_back(std::move(fn));
    eventfd_write(wake_.get(), 1);
  }
  absl::Status Snapshot(Session& s, handoff::SessionWriter& writer) override {
    writer.Input("client", clients_[s.id()].input);
    writer.Output("client", clients_[s.id()].output);
    return absl::OkStatus();
  }
  void Quiesce() override { serving_ = false; }
  void Thaw() override { serving_ = true; }
  void Release(absl::Span<const std::shared_ptr<Session>> moved,
               absl::Span<const std::string>) override {
    for (const auto& session : moved) Drop(*session);
  }
  absl::Status Restore(const std::shared_ptr<Session>& session,
                       const handoff::SessionSnapshot& state) override {
    clients_[session->id()] = {session, std::string(state.input("client")),
                               std::string(state.output("client"))};
    handle_->Adopt(*session);
    return absl::OkStatus();
  }
  void Drop(Session& s) override { clients_.erase(s.id()); }

  bool running = true;  // for the loop's thread

 private:
  struct Client {
    std::shared_ptr<Session> session;
    std::string input, output;  // an unfinished line; answers to be written
  };

  void RunPosted() {
    eventfd_t count;
    eventfd_read(wake_.get(), &count);
    std::unique_lock<std::mutex> lock(mu_);
    const auto posted = std::exchange(posted_, {});
    lock.unlock();
    for (const auto& fn : posted) fn();
  }
  void Accept() {
    handoff::UniqueFd fd(accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK));
    if (!fd) return;
    std::vector<handoff::NamedFd> fds(1);
    fds[0] = {"client", std::move(fd)};
    const auto session = handle_->Open("echo", std::move(fds));
    clients_[session->id()] = {session, "", ""};
  }
  void Serve(std::map<uint64_t, Client>::iterator client) {
    auto& [session, input, output] = client->second;
    const int fd = session->fd("client");
    char bytes[4096];
    ssize_t n;
    if (!output.empty()) {
      n = send(fd, output.data(), output.size(), MSG_NOSIGNAL);
      if (n > 0) output.erase(0, n);
    } else if ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
      input.append(bytes, n);
      for (size_t end; (end = input.find('\n')) != std::string::npos;) {
        output += std::to_string(getpid()) + " " + input.substr(0, end + 1);
        input.erase(0, end + 1);
      }
    }
    if (n > 0 || (n < 0 && errno == EAGAIN)) return session->Changed();
    session->Close();  // never close(2): another process may hold a duplicate
    clients_.erase(client);
  }

  const handoff::UniqueFd wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  int listener_ = -1;
  handoff::GroupHandle* handle_ = nullptr;
  bool serving_ = true;
  std::map<uint64_t, Client> clients_;
  std::mutex mu_;
  std::vector<std::function<void()>> posted_;  // guarded by mu_
};

int main(int argc, char** argv) {
  if (argc != 3) return 2;  // echo_service /run/echo/handoff tcp:0.0.0.0:7777
  sigset_t stop = {};
  sigaddset(&stop, SIGTERM);
  sigprocmask(SIG_BLOCK, &stop, nullptr);

  Echo echo;  // outlives the Handoff
  handoff::Options options;
  options.path = argv[1];
  options.state_types = {{"echo"}};
  const auto service = handoff::Handoff::Start(options);
  const absl::Status serves =
      service.ok() ? echo.Start(**service, argv[2]) : service.status();
  std::cout << getpid() << " serves: " << serves << std::endl;
  if (!serves.ok()) return 1;
  std::thread waiter([&] {
    (*service)->Wait().IgnoreError();  // handed off, or stopped
    echo.Post([&] { echo.running = false; });
  });
  echo.Run(**service, signalfd(-1, &stop, SFD_CLOEXEC));
  waiter.join();
}
