// A small HTTP and gRPC service whose binary can be replaced while it serves.
// README.md has the flags, the routes, and how to upgrade it.

#include <stdio.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "handoff/handoff.h"
#include "handoff/integrations/admin/admin_endpoint.h"
#include "handoff/integrations/signals/upgrade_signals.h"
#include "handoff/integrations/systemd/fd_store.h"
#include "handoff/integrations/systemd/listen_fds.h"
#include "handoff/integrations/systemd/notifier.h"
#include "server/grpc_service.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/process_setup.h"
#include "server/rooms.h"
#include "server/server_state.pb.h"
#include "server/service.h"
#include "server/settings.h"
#include "server/signals.h"

namespace handoff::server {
namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kBadFlags = 2;

// The name of the blob.
constexpr char kRooms[] = "rooms";

// Says in one line why nobody is served by this process; the exit code.
int Complain(const absl::Status& status, absl::string_view what) {
  const std::string line =
      absl::StrCat("handoff_server: ", what, ": ", status.message(), "\n");
  fputs(line.c_str(), stderr);
  return kFailed;
}

// Where INVALID_ARGUMENT means a flag.
int ComplainOfFlags(const absl::Status& status, absl::string_view what) {
  const int code = Complain(status, what);
  return absl::IsInvalidArgument(status) ? kBadFlags : code;
}

absl::StatusOr<Options> MakeOptions(const Settings& settings, char** argv,
                                    Observer* observer) {
  absl::StatusOr<std::string> executable = ResolveExecutable(argv[0]);
  if (!executable.ok()) return executable.status();
  Options options;
  options.path = settings.handoff;
  options.label = settings.label;
  options.state_types = {{kHttp, kLowestStateVersion, settings.http_version,
                          v1::HttpConnection::descriptor()},
                         {kRooms, kLowestRoomsVersion, settings.rooms_version,
                          v1::Rooms::descriptor()},
                         // Also without --grpc and --admin, so that they can be
                         // left out of the next process's flags.
                         {kGrpc},
                         AdminEndpoint::Type(),
                         Metrics::Type(),
                         MetricsPage::Type()};
  options.deadlines.staging = settings.staging_deadline;
  options.deadlines.frozen = settings.frozen_deadline;
  options.deadlines.watch = settings.watch;
  options.deadlines.drain = settings.drain_deadline;
  options.executable = *std::move(executable);
  for (char** argument = argv; *argument != nullptr; ++argument) {
    options.arguments.push_back(*argument);
  }
  options.observer = observer;
  return options;
}

// The rooms move as one blob, which is cut when everything that was said is in
// them and in the members' output.
absl::Status AddRooms(Handoff& handoff, Rooms& rooms) {
  return handoff.AddBlob(
      kRooms,
      [&rooms](uint32_t version) -> absl::StatusOr<google::protobuf::Any> {
        google::protobuf::Any value;
        value.PackFrom(rooms.Save(version));
        return value;
      },
      [&rooms](const google::protobuf::Any& value, uint32_t version) {
        v1::Rooms state;
        if (!value.UnpackTo(&state)) {
          return absl::InvalidArgumentError("it is something else");
        }
        return rooms.Restore(version, state);
      });
}

// Until the process has to end; the exit code. `grpc` may be null.
int ServeUntilEnd(SystemdNotifier& systemd, Service& service, GrpcService* grpc,
                  const Settings& settings) {
  const absl::StatusOr<Ended> ended = systemd.Wait();
  if (ended.ok() && *ended == Ended::kHandedOff) {
    Log("ended", "handed off");
    return kOk;
  }
  if (!ended.ok()) {
    Log("failed",
        absl::StrCat("handoffs have failed for good: ",
                     ended.status().ToString()),
        Level::kWarning);
  }
  const absl::Time until = MonotonicNow() + settings.drain_deadline;
  if (grpc != nullptr) grpc->BeginDrain();
  size_t cut_off = service.Drain(settings.drain_deadline);
  if (grpc != nullptr) cut_off += grpc->AwaitDrained(until - MonotonicNow());
  Log("ended",
      absl::StrCat("stopped; connections that had to be closed: ", cut_off));
  return ended.ok() ? kOk : kFailed;
}

int Main(int argc, char** argv) {
  Signals::BeforeStart();
  const absl::StatusOr<Settings> settings = ReadFlags(argc, argv);
  if (!settings.ok()) return ComplainOfFlags(settings.status(), "bad flags");

  OpenLog(settings->log_format);
  absl::StatusOr<std::vector<GivenDescriptor>> given = TakeListenFds();
  if (!given.ok()) return Complain(given.status(), "cannot start");
  LogObserver observer;
  absl::StatusOr<Options> options = MakeOptions(*settings, argv, &observer);
  if (!options.ok()) return Complain(options.status(), "cannot start");
  options->given = *std::move(given);
  std::unique_ptr<FdStore> store;  // outlives the Handoff
  if (settings->fd_store > 0) {
    auto opened = FdStore::FromEnvironment();
    if (!opened.ok()) return Complain(opened.status(), "cannot start");
    store = *std::move(opened);
    if (store == nullptr) {
      Log("store", "NOTIFY_SOCKET is not set: nothing is kept for a crash");
    }
    options->store = store.get();
    options->store_limits.descriptors = settings->fd_store;
  }
  auto systemd = SystemdNotifier::Install(*options);
  if (!systemd.ok()) return Complain(systemd.status(), "cannot start");
  const absl::StatusOr<size_t> descriptors = RaiseDescriptorLimit();
  if (!descriptors.ok()) return Complain(descriptors.status(), "cannot start");
  // HTTP and gRPC may each have as many.
  const size_t max_connections =
      ConnectionsFor(settings->grpc.empty() ? *descriptors : *descriptors / 2,
                     settings->max_connections);

  // The workers outlive the Handoff, which calls them as long as it is there.
  ServiceInfo info;
  Rooms rooms(&info, settings->ws_max_rooms);
  Service service(&info, &rooms, settings->workers, max_connections);
  std::unique_ptr<GrpcService> grpc;
  std::unique_ptr<AdminEndpoint> admin;
  std::unique_ptr<MetricsPage> metrics;
  AdminOptions admin_options = settings->admin;
  admin_options.executable = options->executable;
  admin_options.arguments = options->arguments;
  absl::StatusOr<std::unique_ptr<Handoff>> handoff =
      Handoff::Start(*std::move(options));
  if (!handoff.ok()) {
    return ComplainOfFlags(handoff.status(),
                           absl::StrCat("cannot start at ", settings->handoff));
  }
  info.pid = getpid();
  info.label = settings->label;
  info.generation = (*handoff)->generation();
  info.limits = settings->limits;

  Signals::BlockInAllThreads();
  std::atomic<bool> serving{false};
  std::atomic<bool> stopping{false};
  const Signals signals([&](int) {
    if (!serving) {
      // At once, and the predecessor goes on: if the stop waited for the
      // take-over, it would end both.
      Log("ended", "asked to stop before it served", Level::kWarning);
      _exit(kFailed);
    }
    if (stopping.exchange(true)) {
      Log("stopping", "asked to stop again: waiting for no more answers");
      service.EndDrain();
      if (grpc != nullptr) grpc->EndDrain();
      return;
    }
    Log("stopping", "asked to stop: draining");
    (*handoff)->Stop();
  });
  const absl::StatusOr<Handoff::Shards> listeners = (*handoff)->ListenSharded(
      kHttp, settings->http, settings->sharded ? settings->workers : 1);
  if (!listeners.ok()) {
    return ComplainOfFlags(listeners.status(),
                           absl::StrCat("cannot listen at ", settings->http));
  }
  const absl::StatusOr<std::string> address =
      ListenerAddress(listeners->front().front(), settings->http);
  if (!address.ok()) return Complain(address.status(), "cannot listen");
  absl::StatusOr<std::unique_ptr<MetricsPage>> page =
      MetricsPage::Create(**handoff, &info);
  if (!page.ok()) return Complain(page.status(), "cannot start /metrics");
  metrics = *std::move(page);
  info.metrics = [m = metrics.get()] { return m->Text(); };
  service.Register(**handoff);
  service.Listen(*listeners);
  std::string addresses = absl::StrCat("http=", *address);
  if (!settings->grpc.empty()) {
    auto made = GrpcService::Create(&info, max_connections);
    if (!made.ok()) return Complain(made.status(), "cannot start gRPC");
    grpc = *std::move(made);
    const auto listens = grpc->Listen(**handoff, settings->grpc);
    if (!listens.ok()) {
      return ComplainOfFlags(listens.status(),
                             absl::StrCat("cannot listen at ", settings->grpc));
    }
    absl::StrAppend(&addresses, " grpc=", *listens);
  }
  if (!admin_options.address.empty()) {
    const std::string asked = admin_options.address;
    auto made = AdminEndpoint::Create(**handoff, std::move(admin_options));
    if (!made.ok()) {
      return ComplainOfFlags(made.status(), "cannot serve --admin");
    }
    admin = *std::move(made);
    const auto listens = ListenerAddress(admin->listener(), asked);
    if (!listens.ok()) return Complain(listens.status(), "cannot listen");
    absl::StrAppend(&addresses, " admin=", *listens);
  }
  absl::Status ready = AddRooms(**handoff, rooms);
  if (ready.ok()) ready = (*handoff)->TakeSessions(kHttp, &service);
  service.StartThreads();
  if (ready.ok()) ready = (*handoff)->Ready();
  if (!ready.ok()) {
    service.Stop();
    // A rehearsal, and it went well: the one end that is no failure.
    if (absl::IsCancelled(ready)) {
      Log("rehearsed", ready.message());
      return kOk;
    }
    return Complain(ready, "cannot take over");
  }
  serving = true;
  service.Serve();
  if (grpc != nullptr) grpc->Serve();
  if (admin != nullptr) ready = admin->Serve();
  if (!ready.ok()) {
    Log("admin", absl::StrCat("nobody is served there: ", ready.message()),
        Level::kWarning);
  }
  const auto upgrades = UpgradeSignals::Install(**handoff);
  if (!upgrades.ok()) {
    Log("signals",
        absl::StrCat("no upgrades by SIGUSR2: ", upgrades.status().message()),
        Level::kWarning);
  }
  if (max_connections < settings->max_connections) {
    Log("limits", absl::StrCat("RLIMIT_NOFILE is ", *descriptors, ": at most ",
                               max_connections, " connections"));
  }

  (*systemd)->Serve(**handoff);
  printf("ready pid=%d generation=%llu %s\n", static_cast<int>(info.pid),
         static_cast<unsigned long long>(info.generation), addresses.c_str());
  fflush(stdout);

  const int code = ServeUntilEnd(**systemd, service, grpc.get(), *settings);
  // Before the loops end, which have to answer for as long as there is a
  // watchdog.
  const absl::Status told = (*systemd)->End();
  if (!told.ok()) Log("systemd", told.message());
  if (admin != nullptr) admin->Stop();
  service.Stop();
  if (grpc != nullptr) grpc->Stop();
  return code;
}

}  // namespace
}  // namespace handoff::server

int main(int argc, char** argv) { return handoff::server::Main(argc, argv); }
