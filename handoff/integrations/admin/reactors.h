#ifndef HANDOFF_INTEGRATIONS_ADMIN_REACTORS_H_
#define HANDOFF_INTEGRATIONS_ADMIN_REACTORS_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "handoff/integrations/admin/call_threads.h"
#include "handoff/integrations/admin/lists.h"
#include "handoff/integrations/admin/problem.h"

// How calls get from gRPC's threads, which must not block, to CallThreads. Each
// object belongs to its call and deletes itself when gRPC is done with that.

namespace handoff {

inline constexpr std::chrono::seconds kWritePatience{30};

inline absl::Status TooManyCalls() {
  return Problem(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
                 "as many calls as may be are under way",
                 "end some of them, or call again in a moment");
}

inline absl::Status CallerLeft() {
  return absl::CancelledError("the caller has left");
}

// A call with one answer.
inline ::grpc::ServerUnaryReactor* RunUnary(
    ::grpc::CallbackServerContext* context, CallThreads& threads,
    std::function<absl::Status()> call) {
  ::grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const bool runs = threads.Run([context, reactor, call = std::move(call)] {
    // Whoever has left while it waited for its turn is not served.
    reactor->Finish(ToGrpc(context->IsCancelled() ? CallerLeft() : call()));
  });
  if (!runs) reactor->Finish(ToGrpc(TooManyCalls()));
  return reactor;
}

// A stream whose messages are made one by one, as the caller takes them: it
// holds no thread while it waits for a slow one.
template <typename Response>
class PageStream final : public ::grpc::ServerWriteReactor<Response> {
 public:
  using Begin = std::function<absl::StatusOr<NextMessage<Response>>()>;

  // `slot` lives as long as the call; null: there are too many.
  static PageStream* Start(::grpc::CallbackServerContext* context,
                           CallThreads& threads, std::shared_ptr<void> slot,
                           Begin begin) {
    auto* stream = new PageStream(context, threads, std::move(slot));
    if (stream->slot_ == nullptr) {
      stream->Finish(ToGrpc(TooManyCalls()));
      return stream;
    }
    stream->RunOrFinish([stream, begin = std::move(begin)] {
      auto next = begin();
      if (!next.ok()) {
        stream->Finish(ToGrpc(next.status()));
        return;
      }
      stream->next_ = *std::move(next);
      stream->Step();
    });
    return stream;
  }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      this->Finish(ToGrpc(CallerLeft()));
      return;
    }
    RunOrFinish([this] { Step(); });
  }
  void OnDone() override { delete this; }

 private:
  PageStream(::grpc::CallbackServerContext* context, CallThreads& threads,
             std::shared_ptr<void> slot)
      : context_(context), threads_(threads), slot_(std::move(slot)) {}

  void RunOrFinish(std::function<void()> step) {
    if (!threads_.Run(std::move(step))) this->Finish(ToGrpc(TooManyCalls()));
  }

  void Step() {
    if (context_->IsCancelled()) {
      this->Finish(ToGrpc(CallerLeft()));
      return;
    }
    const absl::StatusOr<bool> more = next_(&response_);
    if (!more.ok() || !*more) {
      this->Finish(ToGrpc(more.status()));
    } else {
      this->StartWrite(&response_);
    }
  }

  ::grpc::CallbackServerContext* const context_;
  CallThreads& threads_;
  const std::shared_ptr<void> slot_;
  NextMessage<Response> next_;
  Response response_;
};

// A stream that a thread of its own writes.
template <typename Response>
class BlockingStream final : public ::grpc::ServerWriteReactor<Response> {
 public:
  using Call = std::function<absl::Status(BlockingStream&)>;

  static BlockingStream* Start(::grpc::CallbackServerContext* context,
                               CallThreads& threads, Call call) {
    auto* stream = new BlockingStream(context);
    const bool runs = threads.Run([stream, call = std::move(call)] {
      stream->Finish(ToGrpc(call(*stream)));
    });
    if (!runs) stream->Finish(ToGrpc(TooManyCalls()));
    return stream;
  }

  // Blocks until the caller may be sent more; false: it has left, or takes
  // nothing, and does not hold a thread for ever.
  bool Write(const Response& response) {
    {
      std::lock_guard<std::mutex> lock(mu_);
      written_ = false;
    }
    this->StartWrite(&response);
    std::unique_lock<std::mutex> lock(mu_);
    const auto written = [this] { return written_; };
    if (!changed_.wait_for(lock, kWritePatience, written)) {
      lock.unlock();
      context_->TryCancel();
      lock.lock();
      changed_.wait(lock, written);
    }
    return ok_;
  }
  bool cancelled() const { return context_->IsCancelled(); }

  void OnWriteDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mu_);
    written_ = true;
    ok_ = ok;
    changed_.notify_all();
  }
  void OnDone() override { delete this; }

 private:
  explicit BlockingStream(::grpc::CallbackServerContext* context)
      : context_(context) {}

  ::grpc::CallbackServerContext* const context_;
  std::mutex mu_;
  std::condition_variable changed_;
  bool written_ = false;
  bool ok_ = false;
};

// Says at once why a call is refused.
template <typename Response>
class RefusedStream final : public ::grpc::ServerWriteReactor<Response> {
 public:
  explicit RefusedStream(const absl::Status& why) { this->Finish(ToGrpc(why)); }
  void OnDone() override { delete this; }
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_ADMIN_REACTORS_H_
