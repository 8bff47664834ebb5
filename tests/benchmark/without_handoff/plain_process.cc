// The façade without handoff: what a service would have to write itself if it
// never handed anything over, and nothing else. It binds the listener, gives
// each connection an owner and an id, hands posted work to a loop, and waits
// until it is to stop. Nobody is met at Options::path, nothing is tracked, no
// thread is made and no lock is taken for a session.
//
// So what the two servers differ in is all that the library does for a process
// that serves. What both have is what the service needs: its own code is the
// same, to the byte, and calls the same functions of the façade. A shorter
// baseline would have to be another service.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "handoff/handoff.h"
#include "handoff/transport/listen.h"
#include "tests/benchmark/without_handoff/plain_control.h"
#include "tests/benchmark/without_handoff/plain_session.h"

namespace handoff {
namespace {

class PlainGroup final : public GroupHandle {
 public:
  PlainGroup(Group* group, size_t index) : group_(group), roster_(index) {}

  std::shared_ptr<Session> Open(absl::string_view,
                                std::vector<NamedFd> descriptors) override {
    return roster_.Open(std::move(descriptors));
  }
  void Adopt(Session&) override {}
  void Post(std::function<void()> fn) override { group_->Post(std::move(fn)); }

 private:
  Group* const group_;
  Roster roster_;
};

class PlainProcess final : public Handoff {
 public:
  bool took_over() const override { return false; }
  uint64_t generation() const override { return 1; }

  absl::StatusOr<int> Listen(absl::string_view,
                             absl::string_view address) override {
    return Own(BindListener(address));
  }
  // All workers have the one.
  absl::StatusOr<Shards> ListenSharded(absl::string_view,
                                       absl::string_view address,
                                       int) override {
    const absl::StatusOr<int> listener = Own(BindListener(address));
    if (!listener.ok()) return listener.status();
    return Shards{{*listener}};
  }
  absl::StatusOr<int> Descriptor(
      absl::string_view,
      absl::FunctionRef<absl::StatusOr<UniqueFd>()> make) override {
    return Own(make());
  }
  absl::Status AddBlob(absl::string_view, SaveBlob, RestoreBlob) override {
    return absl::OkStatus();
  }
  GroupHandle* Register(Group* group) override {
    groups_.push_back(std::make_unique<PlainGroup>(group, groups_.size()));
    return groups_.back().get();
  }
  absl::Status TakeSessions(absl::string_view, SessionReceiver*) override {
    return absl::OkStatus();
  }
  absl::Status Ready() override { return absl::OkStatus(); }

  absl::StatusOr<Ended> Wait() override {
    std::unique_lock<std::mutex> lock(mu_);
    stop_.wait(lock, [this] { return stopping_; });
    return Ended::kStopped;
  }
  void Stop() override {
    std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
    stop_.notify_all();
  }

  absl::Status StartSuccessor() override {
    return control_.StartSuccessor("").status();
  }
  v1::Ledger GetLedger() const override { return {}; }
  Control& control() override { return control_; }

 private:
  absl::StatusOr<int> Own(absl::StatusOr<UniqueFd> fd) {
    if (!fd.ok()) return fd.status();
    descriptors_.push_back(*std::move(fd));
    return descriptors_.back().get();
  }

  PlainControl control_;
  std::vector<UniqueFd> descriptors_;
  std::vector<std::unique_ptr<PlainGroup>> groups_;
  std::mutex mu_;
  std::condition_variable stop_;
  bool stopping_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Handoff>> Handoff::Start(Options) {
  return std::unique_ptr<Handoff>(std::make_unique<PlainProcess>());
}

}  // namespace handoff
