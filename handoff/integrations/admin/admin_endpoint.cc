#include "handoff/integrations/admin/admin_endpoint.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "handoff/integrations/admin/check_options.h"
#include "handoff/transport/unix_path.h"

namespace handoff {
namespace {

constexpr char kName[] = "admin";
constexpr char kUnix[] = "unix:";
constexpr size_t kMostConnections = 512;
// Of those, for operators alone.
constexpr size_t kForOperators = 128;
// A server for each of them: those whom the configuration names, and those of
// one role whom it does not.
constexpr size_t kMostNamedUsers = 32;
constexpr size_t kMostOtherUsers = 8;
constexpr absl::Duration kStopPatience = absl::Seconds(2);

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

absl::Status AdminEndpoint::Prepare(Handoff& handoff) {
  auto acceptor = GrpcAcceptor::Create(kName, kMostConnections);
  if (!acceptor.ok()) return acceptor.status();
  acceptor_ = *std::move(acceptor);
  absl::Status status = calls_.MakeThread();
  if (!status.ok()) return status;
  status = OnUnixSocket(options_) ? PrepareUnix() : PrepareTcp();
  if (!status.ok()) return status;
  const absl::StatusOr<int> listener = handoff.Listen(kName, options_.address);
  if (!listener.ok()) return listener.status();
  listener_ = *listener;
  status = CheckListener(listener_, options_);
  if (!status.ok()) return status;
  acceptor_->Listen(kName, listener_,
                    [this](int connection) { return Route(connection); });
  acceptor_->Register(handoff, this);
  return absl::OkStatus();
}

// For those who are named, now: later that would take a while of the acceptor's
// thread, and others could have come before them.
absl::Status AdminEndpoint::PrepareUnix() {
  std::set<uid_t> named = {own_uid_, 0};
  for (const AdminParty* party : {&options_.operators, &options_.readers}) {
    named.insert(party->uids.begin(), party->uids.end());
  }
  if (named.size() > kMostNamedUsers) {
    return absl::InvalidArgumentError(
        absl::StrCat(named.size(), " uids may call, own and root included, of ",
                     kMostNamedUsers, " at the most: name a group instead"));
  }
  for (const uid_t uid : named) {
    UnixPeer peer;
    peer.uid = uid;
    const AdminRole role =
        RoleOf(peer, own_uid_, options_.operators, options_.readers);
    if (role == AdminRole::kNone) continue;
    const auto server = AddServer(uid, role);
    if (!server.ok()) return server.status();
  }
  return absl::OkStatus();
}

absl::StatusOr<AdminServer*> AdminEndpoint::AddServer(uid_t uid,
                                                      AdminRole role) {
  auto made = AdminServer::Create(
      calls_,
      [caller = Caller{role, absl::StrCat("uid ", uid)}](
          const ::grpc::ServerContextBase&) { return caller; },
      ::grpc::InsecureServerCredentials());
  if (!made.ok()) return made.status();
  std::unique_ptr<AdminServer>& server = by_user_[{uid, role}];
  server = *std::move(made);
  return server.get();
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

absl::Status AdminEndpoint::SetMode() const {
  if (!OnUnixSocket(options_)) return absl::OkStatus();
  const std::string path(absl::StripPrefix(options_.address, kUnix));
  const mode_t mode =
      options_.operators.empty() && options_.readers.empty() ? 0600 : 0666;
  // An inherited or given listener may be at another path, and at this one
  // nothing, or somebody else.
  struct stat status;
  const bool there = IsBoundAt(listener_, path) &&
                     ::lstat(path.c_str(), &status) == 0 &&
                     S_ISSOCK(status.st_mode);
  if (there && ::chmod(path.c_str(), mode) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("chmod ", path));
  }
  return absl::OkStatus();
}

absl::Status AdminEndpoint::Serve() {
  const absl::Status mode = SetMode();
  // Whatever became of that: a group without its thread would end every
  // handoff.
  serving_ = true;
  calls_.Start();
  // Their health is told here: servers are still to be made.
  acceptor_->Start({});
  return mode;
}

void AdminEndpoint::Stop() {
  if (std::exchange(stopped_, true)) return;
  const absl::Time deadline = absl::Now() + kStopPatience;
  if (serving_) {
    acceptor_->Post([this] { End(); });
    acceptor_->BeginDrain();
    acceptor_->AwaitDrained(kStopPatience);
    acceptor_->Stop();
  }
  calls_.End();
  if (tcp_server_ != nullptr) tcp_server_->Shutdown(deadline);
  for (auto& [user, server] : by_user_) server->Shutdown(deadline);
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
  // What are left now, of all.
  const size_t connections = acceptor_->AwaitDrained(absl::ZeroDuration());
  if (role == AdminRole::kReader &&
      connections >= kMostConnections - kForOperators) {
    Refused(who, "there are as many connections as readers may have");
    return nullptr;
  }
  const auto found = by_user_.find({peer->uid, role});
  if (found != by_user_.end()) return found->second->connections();
  size_t& others = others_[role];
  if (others >= kMostOtherUsers) {
    Refused(who, absl::StrCat("there have been ", kMostOtherUsers,
                              " users of its role by their groups, as many as "
                              "may be"));
    return nullptr;
  }
  const auto server = AddServer(peer->uid, role);
  if (!server.ok()) {
    Refused(who, std::string(server.status().message()));
    return nullptr;
  }
  ++others;
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
