#ifndef TESTS_ADMIN_ADMIN_CLIENT_H_
#define TESTS_ADMIN_ADMIN_CLIENT_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/admin.grpc.pb.h"

namespace handoff::admin_tests {

// How long a call may take before it counts as hung.
inline constexpr absl::Duration kCallPatience = absl::Seconds(30);

// A channel of its own connection, to "unix:/path" or "tcp:HOST:PORT".
std::shared_ptr<::grpc::Channel> Dial(
    const std::string& address,
    std::shared_ptr<::grpc::ChannelCredentials> credentials =
        ::grpc::InsecureChannelCredentials());

// A call's context, with the tests' patience.
struct Context : ::grpc::ClientContext {
  explicit Context(absl::Duration patience = kCallPatience);
};

// One admin endpoint as a client has it.
class AdminClient {
 public:
  explicit AdminClient(std::shared_ptr<::grpc::Channel> channel)
      : stub_(admin::v1::Admin::NewStub(channel)), channel_(channel) {}
  explicit AdminClient(const std::string& address)
      : AdminClient(Dial(address)) {}

  admin::v1::Admin::Stub* operator->() { return stub_.get(); }
  const std::shared_ptr<::grpc::Channel>& channel() const { return channel_; }

  // Calls with one answer: `method` is one of the stub's.
  template <typename Request, typename Response>
  ::grpc::Status Call(::grpc::Status (admin::v1::Admin::Stub::*method)(
                          ::grpc::ClientContext*, const Request&, Response*),
                      const Request& request, Response* response) {
    Context context;
    return (stub_.get()->*method)(&context, request, response);
  }

  admin::v1::GetStatusResponse Status();

 private:
  std::unique_ptr<admin::v1::Admin::Stub> stub_;
  std::shared_ptr<::grpc::Channel> channel_;
};

// What a stream had, to its end.
template <typename Response>
struct Streamed {
  std::vector<Response> messages;
  ::grpc::Status status;
};

template <typename Response>
Streamed<Response> ReadAll(
    std::unique_ptr<::grpc::ClientReader<Response>> reader) {
  Streamed<Response> all;
  Response response;
  while (reader->Read(&response)) all.messages.push_back(std::move(response));
  all.status = reader->Finish();
  return all;
}

// The Problem in an error's details.
admin::v1::Problem ProblemOf(const ::grpc::Status& status);

// A unary call, or the first message of a stream, by bytes.
struct RawAnswer {
  ::grpc::Status status;
  std::string bytes;
};
RawAnswer CallRaw(const std::shared_ptr<::grpc::Channel>& channel,
                  const std::string& method, const std::string& request);

}  // namespace handoff::admin_tests

#endif  // TESTS_ADMIN_ADMIN_CLIENT_H_
