#include "tests/server/grpc_clients.h"

#include <poll.h>

#include <algorithm>
#include <condition_variable>
#include <future>
#include <utility>

#include "absl/base/internal/sysinfo.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"

namespace handoff::server {
namespace {

using ::grpc::ByteBuffer;

// Clients of gRPC before 1.61 take a connect for failed where errno has another
// value than connect(2) left. Abseil's locks cause that once in a process, when
// they first ask for the clock's frequency: here, before any connect.
[[maybe_unused]] const double clock_frequency =
    absl::base_internal::NominalCPUFrequency();

constexpr int kMessagesPerStream = 15;
constexpr int kMsBetweenMessages = 20;

void SetDeadline(::grpc::ClientContext& context) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
}

ByteBuffer ToBuffer(const std::string& bytes) {
  const ::grpc::Slice slice(bytes);
  return ByteBuffer(&slice, 1);
}

std::string ToBytes(const ByteBuffer& buffer) {
  std::vector<::grpc::Slice> slices;
  (void)buffer.Dump(&slices);
  std::string bytes;
  for (const ::grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

// HealthCheckResponse: field 1, a varint.
Health ToHealth(const ByteBuffer& response) {
  const std::string bytes = ToBytes(response);
  if (bytes.size() != 2 || bytes[0] != 8) return Health::kUnknown;
  return static_cast<Health>(bytes[1]);
}

}  // namespace

std::shared_ptr<::grpc::Channel> ConnectGrpc(
    const std::string& address,
    const std::shared_ptr<::grpc::ChannelCredentials>& credentials) {
  ::grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return ::grpc::CreateCustomChannel(address, credentials, arguments);
}

uint64_t EchoGeneration(const std::shared_ptr<::grpc::Channel>& channel) {
  ::grpc::ClientContext context;
  SetDeadline(context);
  v1::EchoRequest request;
  v1::EchoResponse response;
  const ::grpc::Status status =
      v1::EchoService::NewStub(channel)->Echo(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_code() << " "
                           << status.error_message();
  return status.ok() ? response.generation() : 0;
}

Chat::Chat(std::shared_ptr<::grpc::Channel> channel)
    : channel_(std::move(channel)), stub_(v1::EchoService::NewStub(channel_)) {
  SetDeadline(context_);
  stream_ = stub_->Chat(&context_);
}

uint64_t Chat::Say() {
  v1::EchoRequest request;
  request.set_text(absl::StrCat("message ", ++said_));
  v1::EchoResponse response;
  if (!stream_->Write(request) || !stream_->Read(&response)) return 0;
  EXPECT_EQ(response.text(), request.text());
  EXPECT_EQ(response.number(), said_);
  return response.generation();
}

::grpc::Status Chat::End() {
  stream_->WritesDone();
  return stream_->Finish();
}

Health CheckHealth(const std::shared_ptr<::grpc::Channel>& channel) {
  ::grpc::GenericStub stub(channel);
  ::grpc::ClientContext context;
  SetDeadline(context);
  const ByteBuffer request = ToBuffer("");
  ByteBuffer response;
  std::promise<::grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request,
                 &response,
                 [&](::grpc::Status s) { done.set_value(std::move(s)); });
  const ::grpc::Status status = done.get_future().get();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return ToHealth(response);
}

class HealthWatch::Reactor final
    : public ::grpc::ClientBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  explicit Reactor(const std::shared_ptr<::grpc::Channel>& channel)
      : stub_(channel) {
    SetDeadline(context_);
    stub_.PrepareBidiStreamingCall(&context_, "/grpc.health.v1.Health/Watch",
                                   {}, this);
    StartWriteLast(&request_, {});
    StartRead(&response_);
    StartCall();
  }
  ~Reactor() override {
    context_.TryCancel();
    done_.get_future().wait();
  }
  Health Next() {
    std::unique_lock<std::mutex> lock(mutex_);
    change_.wait_for(lock, absl::ToChronoNanoseconds(kPatience),
                     [this] { return !seen_.empty() || ended_; });
    if (seen_.empty()) return Health::kUnknown;
    const Health next = seen_.front();
    seen_.pop_front();
    return next;
  }
  bool ended() {
    std::lock_guard<std::mutex> lock(mutex_);
    return ended_;
  }

 private:
  void OnReadDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ok) {
      seen_.push_back(ToHealth(response_));
      StartRead(&response_);
    } else {
      ended_ = true;
    }
    change_.notify_all();
  }
  void OnDone(const ::grpc::Status& /*status*/) override { done_.set_value(); }

  ::grpc::GenericStub stub_;
  ::grpc::ClientContext context_;
  const ByteBuffer request_ = ToBuffer("");
  ByteBuffer response_;
  std::promise<void> done_;
  std::mutex mutex_;
  std::condition_variable change_;
  std::deque<Health> seen_;
  bool ended_ = false;
};

HealthWatch::HealthWatch(const std::shared_ptr<::grpc::Channel>& channel)
    : reactor_(std::make_unique<Reactor>(channel)) {}
HealthWatch::~HealthWatch() = default;
Health HealthWatch::Next() { return reactor_->Next(); }
bool HealthWatch::ended() { return reactor_->ended(); }

namespace {

// One request, one response, end.
class AskOnce final : public ::grpc::ClientBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  AskOnce(const std::shared_ptr<::grpc::Channel>& channel,
          const std::string& method, const std::string& request)
      : stub_(channel), request_(ToBuffer(request)) {
    SetDeadline(context_);
    stub_.PrepareBidiStreamingCall(&context_, method, {}, this);
    StartWriteLast(&request_, {});
    StartRead(&response_);
    StartCall();
  }
  std::string Await() {
    const ::grpc::Status status = done_.get_future().get();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return ToBytes(response_);
  }

 private:
  void OnDone(const ::grpc::Status& status) override {
    done_.set_value(status);
  }
  ::grpc::GenericStub stub_;
  ::grpc::ClientContext context_;
  const ByteBuffer request_;
  ByteBuffer response_;
  std::promise<::grpc::Status> done_;
};

}  // namespace

std::string ListServices(const std::shared_ptr<::grpc::Channel>& channel) {
  // ServerReflectionRequest: list_services, field 7, any string.
  AskOnce ask(channel,
              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              std::string("\x3a\x01*", 3));
  return ask.Await();
}

GrpcLoad::GrpcLoad(const std::string& address, int callers, int streamers)
    : seen_(callers + streamers) {
  for (int i = 0; i < callers + streamers; ++i) {
    threads_.emplace_back([this, address, i, callers] {
      if (i < callers) {
        CallInALoop(address, &seen_[i]);
      } else {
        StreamInALoop(address, &seen_[i]);
      }
    });
  }
}

GrpcLoad::~GrpcLoad() { Stop(); }

void GrpcLoad::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

uint64_t GrpcLoad::generation() const {
  return *std::min_element(seen_.begin(), seen_.end());
}

std::vector<std::string> GrpcLoad::failures() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failures_;
}

void GrpcLoad::Failed(const std::string& what, const ::grpc::Status& status,
                      uint64_t generation) {
  std::lock_guard<std::mutex> lock(mutex_);
  failures_.push_back(absl::StrCat(what, " after generation ", generation, ": ",
                                   status.error_code(), " ",
                                   status.error_message()));
  // There is no use in thousands.
  if (failures_.size() > 100) stop_ = true;
}

void GrpcLoad::CallInALoop(const std::string& address,
                           std::atomic<uint64_t>* seen) {
  const auto stub = v1::EchoService::NewStub(ConnectGrpc(address));
  while (!stop_) {
    ::grpc::ClientContext context;
    SetDeadline(context);
    v1::EchoRequest request;
    request.set_text(absl::StrCat("call ", calls_.load()));
    v1::EchoResponse response;
    const ::grpc::Status status = stub->Echo(&context, request, &response);
    if (!status.ok()) {
      Failed("a call", status, *seen);
    } else if (response.text() != request.text()) {
      Failed("a wrong answer", status, *seen);
    } else {
      *seen = response.generation();
      ++calls_;
    }
  }
}

void GrpcLoad::StreamInALoop(const std::string& address,
                             std::atomic<uint64_t>* seen) {
  const auto stub = v1::EchoService::NewStub(ConnectGrpc(address));
  while (!stop_) {
    ::grpc::ClientContext context;
    SetDeadline(context);
    const auto stream = stub->Chat(&context);
    v1::EchoRequest request;
    v1::EchoResponse response;
    bool good = true;
    uint64_t generation = 0;
    for (uint64_t i = 1; good && i <= kMessagesPerStream; ++i) {
      request.set_text(absl::StrCat("message ", i));
      good = stream->Write(request) && stream->Read(&response) &&
             response.number() == i && response.text() == request.text() &&
             (i == 1 || response.generation() == generation);
      generation = response.generation();
      ::poll(nullptr, 0, kMsBetweenMessages);
    }
    stream->WritesDone();
    const ::grpc::Status status = stream->Finish();
    if (!good || !status.ok()) {
      Failed("a stream", status, *seen);
    } else {
      *seen = generation;
      ++streams_;
    }
  }
}

}  // namespace handoff::server
