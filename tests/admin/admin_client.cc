#include "tests/admin/admin_client.h"

#include <grpcpp/generic/generic_stub.h>

#include <chrono>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace handoff::admin_tests {

std::shared_ptr<::grpc::Channel> Dial(
    const std::string& address,
    std::shared_ptr<::grpc::ChannelCredentials> credentials) {
  ::grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const std::string target =
      absl::StartsWith(address, "tcp:") ? address.substr(4) : address;
  return ::grpc::CreateCustomChannel(target, credentials, arguments);
}

Context::Context(absl::Duration patience) {
  set_deadline(std::chrono::system_clock::now() +
               absl::ToChronoMilliseconds(patience));
}

admin::v1::GetStatusResponse AdminClient::Status() {
  admin::v1::GetStatusResponse response;
  const ::grpc::Status status =
      Call(&admin::v1::Admin::Stub::GetStatus, {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_code() << " "
                           << status.error_message();
  return response;
}

admin::v1::Problem ProblemOf(const ::grpc::Status& status) {
  admin::v1::ErrorStatus error;
  admin::v1::Problem problem;
  EXPECT_TRUE(error.ParseFromString(status.error_details()));
  EXPECT_EQ(error.code(), static_cast<int>(status.error_code()));
  EXPECT_EQ(error.message(), status.error_message());
  if (error.details_size() == 1) {
    EXPECT_TRUE(error.details(0).UnpackTo(&problem));
  } else {
    ADD_FAILURE() << "no Problem in the details of: " << status.error_message();
  }
  return problem;
}

RawAnswer CallRaw(const std::shared_ptr<::grpc::Channel>& channel,
                  const std::string& method, const std::string& request) {
  ::grpc::GenericStub stub(channel);
  ::grpc::CompletionQueue queue;
  Context context;
  const ::grpc::Slice slice(request);
  ::grpc::ByteBuffer bytes(&slice, 1);
  RawAnswer answer;
  ::grpc::ByteBuffer response;
  auto stream = stub.PrepareCall(&context, method, &queue);
  const auto next = [&queue] {
    void* tag;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  stream->StartCall(nullptr);
  bool read = false;
  if (next()) {
    stream->WriteLast(bytes, {}, nullptr);
    if (next()) {
      stream->Read(&response, nullptr);
      read = next();
    }
  }
  stream->Finish(&answer.status, nullptr);
  next();
  queue.Shutdown();
  while (next()) {
  }
  std::vector<::grpc::Slice> slices;
  if (read && response.Dump(&slices).ok()) {
    for (const ::grpc::Slice& part : slices) {
      answer.bytes.append(reinterpret_cast<const char*>(part.begin()),
                          part.size());
    }
  }
  return answer;
}

}  // namespace handoff::admin_tests
