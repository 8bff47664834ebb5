#include "tools/admin_client.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/support/log.h>
#include <grpcpp/create_channel_posix.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/transport/unix_path.h"

namespace handoff {
namespace {

// Whatever gRPC would say of a connection, in lines of its own, is in the
// status of the call.
void SayNothing(gpr_log_func_args*) {}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  // Else two stubs for one address would have one connection, and one that
  // comes after a handoff would be with the predecessor.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // What the environment says of the web is nothing to us.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

absl::Status CannotConnect(const std::string& path, int error) {
  const absl::Status status =
      absl::ErrnoToStatus(error, absl::StrCat("cannot connect to unix:", path));
  absl::string_view advice =
      "check that the service runs and that this is its admin endpoint";
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  if (error == EACCES || error == EPERM) {
    advice =
        "run this as the service's user, as root, or as whom the endpoint "
        "allows";
    code = absl::StatusCode::kPermissionDenied;
  } else if (error == EAGAIN) {
    advice = "try again in a moment; if that does not help, the process hangs";
  }
  return absl::Status(code, absl::StrCat(status.message(), "; ", advice));
}

// Connected here, and not by gRPC, because errno says which failure it is.
absl::StatusOr<std::shared_ptr<grpc::Channel>> OverUnix(
    const std::string& path) {
  const absl::StatusOr<sockaddr_un> address = UnixAddress(path);
  if (!address.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(address.status().message(), "; check the path"));
  }
  UniqueFd socket(
      ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address),
                sizeof(*address)) != 0) {
    return CannotConnect(path, errno);
  }
  return grpc::CreateCustomInsecureChannelFromFd("localhost", socket.release(),
                                                 Arguments());
}

// Far more than any chain of certificates: what is longer is some other file.
constexpr size_t kLongestFile = 1 << 20;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const auto cannot = [&path](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read ", path, ": ", why,
                     "; check the name and that it is in PEM"));
  };
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return cannot(::strerror(errno));
  std::string text;
  char bytes[4096];
  ssize_t size;
  while ((size = ::read(file.get(), bytes, sizeof(bytes))) > 0) {
    text.append(bytes, static_cast<size_t>(size));
    if (text.size() > kLongestFile) return cannot("it is too long");
  }
  if (size < 0) return cannot(::strerror(errno));
  if (text.empty()) return cannot("it is empty");
  return text;
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> OverTcp(
    const std::string& target, const AdminAddress& address) {
  if (address.insecure_tcp) {
    return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(),
                                     Arguments());
  }
  grpc::SslCredentialsOptions options;
  const std::pair<const std::string&, std::string&> files[] = {
      {address.ca, options.pem_root_certs},
      {address.certificate, options.pem_cert_chain},
      {address.key, options.pem_private_key}};
  for (const auto& [path, text] : files) {
    absl::StatusOr<std::string> read = ReadFile(path);
    if (!read.ok()) return read.status();
    text = *std::move(read);
  }
  return grpc::CreateCustomChannel(target, grpc::SslCredentials(options),
                                   Arguments());
}

absl::string_view Advice(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnavailable:
      return "check that the service runs, that this is its admin endpoint and "
             "that it lets you in, then try again";
    case absl::StatusCode::kDeadlineExceeded:
      return "try a longer --timeout; if that does not help, the process hangs";
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return "run this as somebody whom the endpoint allows that";
    case absl::StatusCode::kUnimplemented:
      return "use the command of the service's version";
    default:
      return "look for the cause in the service's log";
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<AdminStub>> ConnectToAdmin(
    const AdminAddress& address) {
  if (::getenv("GRPC_VERBOSITY") == nullptr) ::gpr_set_log_function(SayNothing);
  absl::string_view rest = address.address;
  const absl::StatusOr<std::shared_ptr<grpc::Channel>> channel =
      absl::ConsumePrefix(&rest, "unix:")
          ? OverUnix(std::string(rest))
          : OverTcp(std::string(absl::StripPrefix(rest, "tcp:")), address);
  if (!channel.ok()) return channel.status();
  return admin::v1::Admin::NewStub(*channel);
}

void SetTimeout(grpc::ClientContext& context, absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // The numbers are the same, by absl/status/status.h.
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  // gRPC has connected nowhere, because TLS could not begin with these files:
  // no other failure has this text.
  if (absl::StartsWith(status.error_message(), "empty address list")) {
    return absl::InvalidArgumentError(
        "no TLS with these files; check that --admin_ca, --admin_cert and "
        "--admin_key are in PEM, and that the key is the certificate's");
  }
  // With details, it is the endpoint's own, and says what to do.
  if (!status.error_details().empty()) {
    return absl::Status(code, status.error_message());
  }
  return absl::Status(code,
                      absl::StrCat(status.error_message(), "; ", Advice(code)));
}

}  // namespace handoff
