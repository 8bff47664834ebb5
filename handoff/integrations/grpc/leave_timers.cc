#include "handoff/integrations/grpc/leave_timers.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpc/event_engine/event_engine.h"
#include "grpc/grpc.h"

namespace handoff {
namespace {

namespace engine = ::grpc_event_engine::experimental;
using engine::EventEngine;

// 12.4 days: far longer than any deadline of gRPC's own, and so odd that nobody
// else asks for it. gRPC changes each by up to a tenth, in either direction.
constexpr int kAgeMs = 1 << 30;
constexpr std::chrono::milliseconds kLeast(kAgeMs / 100 * 89LL);
constexpr std::chrono::milliseconds kMost(kAgeMs / 100 * 111LL);

class LeaveTimers {
 public:
  explicit LeaveTimers(std::shared_ptr<EventEngine> engine)
      : engine_(std::move(engine)) {}

  EventEngine& engine() { return *engine_; }

  EventEngine::TaskHandle RunAfter(EventEngine::Duration when,
                                   EventEngine::Closure* closure) {
    if (when < kLeast || when > kMost) return engine_->RunAfter(when, closure);
    // Under the lock, so that AskAll() has either been or sees it.
    std::lock_guard<std::mutex> lock(mutex_);
    seen_ = true;
    if (from_now_on_) {
      return engine_->RunAfter(EventEngine::Duration::zero(), closure);
    }
    const EventEngine::TaskHandle handle = engine_->RunAfter(when, closure);
    timers_[{handle.keys[0], handle.keys[1]}] = closure;
    return handle;
  }

  bool Cancel(EventEngine::TaskHandle handle) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      timers_.erase({handle.keys[0], handle.keys[1]});
    }
    return engine_->Cancel(handle);
  }

  void AskAll(bool from_now_on) {
    std::lock_guard<std::mutex> lock(mutex_);
    from_now_on_ = from_now_on_ || from_now_on;
    for (const auto& [keys, closure] : timers_) {
      // Whoever could cancel it decides whose the closure is: where Cancel()
      // says yes it is ours to run, and its owner is told that it runs already.
      if (engine_->Cancel({{keys.first, keys.second}})) engine_->Run(closure);
    }
    timers_.clear();
  }

  bool seen() {
    std::lock_guard<std::mutex> lock(mutex_);
    return seen_;
  }

 private:
  const std::shared_ptr<EventEngine> engine_;
  std::mutex mutex_;
  // By the keys of the engine's handle, which are never used again.
  std::map<std::pair<intptr_t, intptr_t>, EventEngine::Closure*> timers_;
  bool from_now_on_ = false;
  bool seen_ = false;
};

// gRPC's own engine, but for the timers. gRPC may make several.
class RememberingEngine final : public EventEngine {
 public:
  explicit RememberingEngine(LeaveTimers* timers) : timers_(timers) {}

  TaskHandle RunAfter(Duration when, Closure* closure) override {
    return timers_->RunAfter(when, closure);
  }
  TaskHandle RunAfter(Duration when,
                      absl::AnyInvocable<void()> closure) override {
    return engine().RunAfter(when, std::move(closure));
  }
  bool Cancel(TaskHandle handle) override { return timers_->Cancel(handle); }
  void Run(Closure* closure) override { engine().Run(closure); }
  void Run(absl::AnyInvocable<void()> closure) override {
    engine().Run(std::move(closure));
  }
  bool IsWorkerThread() override { return engine().IsWorkerThread(); }
  absl::StatusOr<std::unique_ptr<Listener>> CreateListener(
      Listener::AcceptCallback on_accept,
      absl::AnyInvocable<void(absl::Status)> on_shutdown,
      const engine::EndpointConfig& config,
      std::unique_ptr<engine::MemoryAllocatorFactory> memory) override {
    return engine().CreateListener(std::move(on_accept), std::move(on_shutdown),
                                   config, std::move(memory));
  }
  ConnectionHandle Connect(OnConnectCallback on_connect,
                           const ResolvedAddress& address,
                           const engine::EndpointConfig& config,
                           engine::MemoryAllocator memory,
                           Duration timeout) override {
    return engine().Connect(std::move(on_connect), address, config,
                            std::move(memory), timeout);
  }
  bool CancelConnect(ConnectionHandle handle) override {
    return engine().CancelConnect(handle);
  }
  std::unique_ptr<DNSResolver> GetDNSResolver(
      const DNSResolver::ResolverOptions& options) override {
    return engine().GetDNSResolver(options);
  }

 private:
  EventEngine& engine() { return timers_->engine(); }

  LeaveTimers* const timers_;
};

// Never destroyed, and neither is gRPC while it has our engine.
LeaveTimers& Timers() {
  static LeaveTimers* const timers = [] {
    // gRPC's engine can be made only once gRPC has begun.
    grpc_init();
    auto* made = new LeaveTimers(
        std::shared_ptr<EventEngine>(engine::CreateEventEngine()));
    engine::SetEventEngineFactory(
        [made] { return std::make_unique<RememberingEngine>(made); });
    return made;
  }();
  return *timers;
}

}  // namespace

void InstallLeaveTimers() { Timers(); }

void AddLeaveTimersTo(::grpc::ServerBuilder& builder) {
  InstallLeaveTimers();
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kAgeMs);
}

void AskClientsToLeave(bool from_now_on) { Timers().AskAll(from_now_on); }

bool LeaveTimersWork() { return Timers().seen(); }

}  // namespace handoff
