#ifndef TESTS_SERVER_GRPC_CLIENTS_H_
#define TESTS_SERVER_GRPC_CLIENTS_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"
#include "server/echo.grpc.pb.h"
#include "tests/server/served.h"

namespace handoff::server {

// A channel with a connection of its own. No retry policy, no wait_for_ready.
std::shared_ptr<::grpc::Channel> ConnectGrpc(
    const std::string& address,
    const std::shared_ptr<::grpc::ChannelCredentials>& credentials =
        ::grpc::InsecureChannelCredentials());

// One call. The generation that answered, or 0 and a failure of the test.
uint64_t EchoGeneration(const std::shared_ptr<::grpc::Channel>& channel);

// A stream that the test writes to and reads from, message by message.
class Chat {
 public:
  explicit Chat(std::shared_ptr<::grpc::Channel> channel);
  // Sends one message; the generation that answered it, or 0 if the stream has
  // ended.
  uint64_t Say();
  // Says that there is no more, and waits for the end.
  ::grpc::Status End();

 private:
  std::shared_ptr<::grpc::Channel> channel_;
  std::unique_ptr<v1::EchoService::Stub> stub_;
  ::grpc::ClientContext context_;
  std::unique_ptr<::grpc::ClientReaderWriter<v1::EchoRequest, v1::EchoResponse>>
      stream_;
  uint64_t said_ = 0;
};

// grpc.health.v1.Health, on one channel. The service's own messages are not in
// Debian's packages; they are two varints.
enum class Health { kUnknown = 0, kServing = 1, kNotServing = 2 };
Health CheckHealth(const std::shared_ptr<::grpc::Channel>& channel);

// Watch: each change of the health, as long as the stream lasts.
class HealthWatch {
 public:
  explicit HealthWatch(const std::shared_ptr<::grpc::Channel>& channel);
  ~HealthWatch();
  // The next, or kUnknown after kPatience or the end.
  Health Next();
  bool ended();

 private:
  class Reactor;
  std::unique_ptr<Reactor> reactor_;
};

// The names that server reflection lists, as it sends them.
std::string ListServices(const std::shared_ptr<::grpc::Channel>& channel);

// Closed loops of calls and of streams, each on a channel of its own, from the
// first call of each until Stop().
class GrpcLoad {
 public:
  GrpcLoad(const std::string& address, int callers, int streamers);
  ~GrpcLoad();

  void Stop();
  // The lowest generation that any of the loops was answered by last.
  uint64_t generation() const;
  uint64_t calls() const { return calls_; }
  uint64_t streams() const { return streams_; }
  // What failed, in words.
  std::vector<std::string> failures() const;

 private:
  void CallInALoop(const std::string& address, std::atomic<uint64_t>* seen);
  void StreamInALoop(const std::string& address, std::atomic<uint64_t>* seen);
  void Failed(const std::string& what, const ::grpc::Status& status,
              uint64_t generation);

  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> streams_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> failures_;
  std::deque<std::atomic<uint64_t>> seen_;  // one for each loop
  std::vector<std::thread> threads_;
};

}  // namespace handoff::server

#endif  // TESTS_SERVER_GRPC_CLIENTS_H_
