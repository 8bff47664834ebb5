#include "handoff/integrations/admin/admin_endpoint.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace handoff {
namespace {

constexpr char kName[] = "admin";
constexpr char kUnix[] = "unix:";
constexpr size_t kMostConnections = 512;
constexpr size_t kMostUsers = 8;
constexpr absl::Duration kStopPatience = absl::Seconds(1);

class NoChannelz final : public ::grpc::ServerBuilderOption {
 public:
  void UpdateArguments(::grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<::grpc::ServerBuilderPlugin>>*
                         plugins) override {
    plugins->erase(
        std::remove_if(
            plugins->begin(), plugins->end(),
            [](const std::unique_ptr<::grpc::ServerBuilderPlugin>& plugin) {
              return plugin->name() == "channelz_service";
            }),
        plugins->end());
  }
};

absl::Status CheckOptions(const AdminOptions& options) {
  const bool users =
      !options.operators.uids.empty() || !options.operators.gids.empty() ||
      !options.readers.uids.empty() || !options.readers.gids.empty();
  const bool certificates = !options.operators.certificates.empty() ||
                            !options.readers.certificates.empty();
  if (absl::StartsWith(options.address, kUnix)) {
    if (!options.tls.empty() || certificates) {
      return absl::InvalidArgumentError(
          "TLS and names of certificates are for TCP: on a Unix socket the "
          "kernel says who connects");
    }
    return absl::OkStatus();
  }
  if (users) {
    return absl::InvalidArgumentError(
        "uids and gids are for a Unix socket: over TCP certificates say who "
        "calls");
  }
  if (options.insecure_plaintext_tcp) {
    if (options.tls.empty() && !certificates) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "insecure_plaintext_tcp (--admin_insecure_plaintext_tcp) and TLS "
        "together: leave one of them out");
  }
  if (options.tls.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.address,
        ": without TLS whoever reaches the port could operate this process; "
        "use unix:/path, or give the TLS files, or, where that is what you "
        "want, insecure_plaintext_tcp (--admin_insecure_plaintext_tcp)"));
  }
  if (!certificates) {
    return absl::InvalidArgumentError(
        "no client could call over TLS: name certificates that are operators "
        "or readers");
  }
  return absl::OkStatus();
}

}  // namespace

StateType AdminEndpoint::Type() { return {kName}; }

std::unique_ptr<::grpc::ServerBuilderOption> AdminEndpoint::WithoutChannelz() {
  return std::make_unique<NoChannelz>();
}

AdminEndpoint::AdminEndpoint(Handoff& handoff, AdminOptions options)
    : control_(handoff.control()),
      options_(std::move(options)),
      own_uid_(::geteuid()),
      calls_(control_,
             {{options_.executable, options_.arguments, options_.executables},
              options_.allow_state,
              kName}) {}

absl::StatusOr<std::unique_ptr<AdminEndpoint>> AdminEndpoint::Create(
    Handoff& handoff, AdminOptions options) {
  absl::Status status = CheckOptions(options);
  if (!status.ok()) return status;
  std::unique_ptr<AdminEndpoint> endpoint(
      new AdminEndpoint(handoff, std::move(options)));
  status = endpoint->Prepare(handoff);
  if (!status.ok()) return status;
  return endpoint;
}

bool AdminEndpoint::unix() const {
  return absl::StartsWith(options_.address, kUnix);
}

absl::Status AdminEndpoint::Prepare(Handoff& handoff) {
  auto acceptor = GrpcAcceptor::Create(kName, kMostConnections);
  if (!acceptor.ok()) return acceptor.status();
  acceptor_ = *std::move(acceptor);
  if (!unix()) {
    const absl::Status server = PrepareTcp();
    if (!server.ok()) return server;
  }
  const absl::StatusOr<int> listener = handoff.Listen(kName, options_.address);
  if (!listener.ok()) return listener.status();
  listener_ = *listener;
  acceptor_->Listen(kName, listener_,
                    [this](int connection) { return Route(connection); });
  acceptor_->Register(handoff, this);
  return absl::OkStatus();
}

absl::Status AdminEndpoint::PrepareTcp() {
  std::shared_ptr<::grpc::ServerCredentials> credentials;
  AdminService::Who who;
  if (options_.insecure_plaintext_tcp) {
    credentials = ::grpc::InsecureServerCredentials();
    who = [](const ::grpc::ServerContextBase& context) {
      return Caller{AdminRole::kOperator,
                    absl::StrCat("anybody at ", context.peer())};
    };
  } else {
    auto tls =
        TlsCredentials(options_.tls, options_.operators, options_.readers);
    if (!tls.ok()) return tls.status();
    credentials = *std::move(tls);
    who = [this](const ::grpc::ServerContextBase& context) {
      return CertificateCaller(*context.auth_context(), options_.operators,
                               options_.readers);
    };
  }
  auto server =
      AdminServer::Create(calls_, std::move(who), std::move(credentials));
  if (!server.ok()) return server.status();
  tcp_server_ = *std::move(server);
  return absl::OkStatus();
}

absl::Status AdminEndpoint::Serve() {
  if (unix()) {
    const std::string path(absl::StripPrefix(options_.address, kUnix));
    const mode_t mode =
        options_.operators.empty() && options_.readers.empty() ? 0600 : 0666;
    // An inherited listener may be at another path, and nothing at this one.
    struct stat status;
    const bool there = ::lstat(path.c_str(), &status) == 0;
    if (there && S_ISSOCK(status.st_mode) && ::chmod(path.c_str(), mode) < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("chmod ", path));
    }
  }
  serving_ = true;
  calls_.Start();
  // Their health is told here: servers are still to be made.
  acceptor_->Start({});
  return absl::OkStatus();
}

void AdminEndpoint::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (serving_) {
    acceptor_->Post([this] { End(); });
    acceptor_->BeginDrain();
    acceptor_->AwaitDrained(kStopPatience);
    acceptor_->Stop();
  }
  calls_.End();
  if (tcp_server_ != nullptr) tcp_server_->Shutdown(kStopPatience);
  for (auto& [user, server] : by_user_) server->Shutdown(kStopPatience);
  calls_.Stop();
}

::grpc::experimental::ExternalConnectionAcceptor* AdminEndpoint::Route(
    int connection) {
  if (tcp_server_ != nullptr) return tcp_server_->connections();
  const absl::StatusOr<UnixPeer> peer = PeerOfAccepted(connection);
  if (!peer.ok()) {
    Refused("somebody", std::string(peer.status().message()));
    return nullptr;
  }
  const std::string who = absl::StrCat("uid ", peer->uid);
  const AdminRole role =
      RoleOf(*peer, own_uid_, options_.operators, options_.readers);
  if (role == AdminRole::kNone) {
    Refused(absl::StrCat(who, ", pid ", peer->pid), "it has no role");
    return nullptr;
  }
  std::unique_ptr<AdminServer>* server = nullptr;
  const auto found = by_user_.find({peer->uid, role});
  if (found != by_user_.end()) return found->second->connections();
  if (by_user_.size() >= kMostUsers) {
    Refused(who, absl::StrCat("there have been ", kMostUsers,
                              " users, as many as may be"));
    return nullptr;
  }
  auto made = AdminServer::Create(
      calls_,
      [caller = Caller{role, who}](const ::grpc::ServerContextBase&) {
        return caller;
      },
      ::grpc::InsecureServerCredentials());
  if (!made.ok()) {
    Refused(who, std::string(made.status().message()));
    return nullptr;
  }
  server = &by_user_[{peer->uid, role}];
  *server = *std::move(made);
  return (*server)->connections();
}

void AdminEndpoint::Refused(const std::string& who, const std::string& why) {
  calls_.refusals().Note(who,
                         absl::StrCat("refused at the admin endpoint: ", why));
}

// On the acceptor's thread.
void AdminEndpoint::End() {
  if (tcp_server_ != nullptr) tcp_server_->SayNotServing();
  for (auto& [user, server] : by_user_) server->SayNotServing();
  calls_.End();
}

void AdminEndpoint::Post(std::function<void()> fn) {
  acceptor_->Post(std::move(fn));
}

absl::Status AdminEndpoint::Snapshot(Session& session, SessionWriter& writer) {
  return acceptor_->Snapshot(session, writer);
}

void AdminEndpoint::Drain() {
  End();
  acceptor_->Drain();
}

}  // namespace handoff
