#include "tests/process/udp_service.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "handoff/handoff.h"

namespace handoff {
namespace {

// A loop without sessions: what it has read it answers before it looks whether
// it is to stop.
class Answerer : public Group {
 public:
  void Post(std::function<void()> fn) override {
    const std::lock_guard<std::mutex> lock(mu_);
    posted_.push_back(std::move(fn));
    (void)::eventfd_write(wake_.get(), 1);
  }
  absl::Status Snapshot(Session&, SessionWriter&) override {
    return absl::InternalError("there are no sessions");
  }
  void Quiesce() override { reads_ = false; }
  void Thaw() override { reads_ = true; }
  void Release(absl::Span<const std::shared_ptr<Session>>,
               absl::Span<const std::string>) override {}

  void Run(int socket) {
    while (runs_) {
      pollfd polled[] = {{wake_.get(), POLLIN, 0},
                         {reads_ ? socket : -1, POLLIN, 0}};
      (void)::poll(polled, 2, -1);
      if (polled[1].revents != 0) Answer(socket);
      if (polled[0].revents != 0) RunPosted();
    }
  }
  void End() {
    Post([this] { runs_ = false; });
  }

 private:
  static void Answer(int socket) {
    char bytes[64];
    for (int i = 0; i < 64; ++i) {
      sockaddr_storage from;
      socklen_t length = sizeof(from);
      auto* name = reinterpret_cast<sockaddr*>(&from);
      const ssize_t size =
          ::recvfrom(socket, bytes, sizeof(bytes), MSG_DONTWAIT, name, &length);
      if (size < 0) return;
      (void)::sendto(socket, bytes, static_cast<size_t>(size), 0, name, length);
    }
  }
  void RunPosted() {
    eventfd_t count;
    (void)::eventfd_read(wake_.get(), &count);
    std::vector<std::function<void()>> posted;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      posted.swap(posted_);
    }
    for (const auto& fn : posted) fn();
  }

  const UniqueFd wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  bool reads_ = true;
  bool runs_ = true;
  std::mutex mu_;
  std::vector<std::function<void()>> posted_;  // guarded by mu_
};

}  // namespace

int RunUdpService(const std::string& path, int socket, int ready) {
  Answerer answerer;  // outlives the Handoff
  Options options;
  options.path = path;
  // None of which is to expire.
  options.deadlines.hello = options.deadlines.quiesce =
      options.deadlines.frozen = absl::Seconds(30);
  options.deadlines.watch = absl::Milliseconds(1);
  auto handoff = Handoff::Start(options);
  if (!handoff.ok()) {
    std::cerr << handoff.status() << "\n";
    return 1;
  }
  (*handoff)->Register(&answerer);
  const absl::StatusOr<int> taken =
      (*handoff)->Descriptor("udp", [&]() -> absl::StatusOr<UniqueFd> {
        return UniqueFd(::fcntl(socket, F_DUPFD_CLOEXEC, 0));
      });
  const absl::Status status = taken.ok() ? (*handoff)->Ready() : taken.status();
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 2;
  }
  int exit_code = 3;
  std::thread waiter([&] {
    const absl::StatusOr<Ended> ended = (*handoff)->Wait();
    if (ended.ok() && *ended == Ended::kHandedOff) exit_code = 0;
    answerer.End();
  });
  if (::write(ready, "r", 1) != 1) exit_code = 4;
  answerer.Run(*taken);
  waiter.join();
  return exit_code;
}

}  // namespace handoff
