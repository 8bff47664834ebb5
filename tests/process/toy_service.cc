#include "tests/process/toy_service.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "handoff/integrations/systemd/fd_store.h"
#include "handoff/integrations/systemd/listen_fds.h"
#include "tests/process/fault.h"
#include "tests/process/toy_control.h"
#include "tests/process/toy_group.h"

namespace handoff::toy {
namespace {

void Print(const std::string& line) {
  const std::string whole = line + "\n";
  [[maybe_unused]] ssize_t n = ::write(STDOUT_FILENO, whole.data(), whole.size());
}

// Prints events, and raises a signal at the one that a test names.
class Fuse : public Observer {
 public:
  Fuse(std::string stop_at, int signal)
      : stop_at_(std::move(stop_at)), signal_(signal) {}

  void OnEvent(const Event& event) override {
    Print(absl::StrCat("event ", EventKindName(event.kind), " ", event.text));
    if (EventKindName(event.kind) == stop_at_) ::raise(signal_);
  }

 private:
  const std::string stop_at_;
  const int signal_;
};

// Gives sessions to groups in turn.
class ToyReceiver : public SessionReceiver {
 public:
  ToyReceiver(std::vector<std::unique_ptr<ToyGroup>>* groups, bool refuse)
      : groups_(groups), refuse_(refuse) {}

  absl::Status Restore(const std::shared_ptr<Session>& session,
                       const SessionSnapshot& snapshot) override {
    if (refuse_) return absl::UnimplementedError("told to refuse");
    const auto [it, first] = home_.emplace(session->id(), next_);
    if (first) next_ = (next_ + 1) % groups_->size();
    (*groups_)[it->second]->Restore(session, snapshot);
    return absl::OkStatus();
  }
  void Drop(Session& session) override {
    (*groups_)[home_.at(session.id())]->Drop(session);
    home_.erase(session.id());
  }

 private:
  std::vector<std::unique_ptr<ToyGroup>>* const groups_;
  const bool refuse_;
  size_t next_ = 0;
  std::map<uint64_t, size_t> home_;
};

class SettingsReader {
 public:
  explicit SettingsReader(const Settings& settings) : settings_(settings) {}

  std::string Text(const std::string& key, const std::string& otherwise) const {
    const auto it = settings_.find(key);
    return it == settings_.end() ? otherwise : it->second;
  }
  int Number(const std::string& key, int otherwise) const {
    int value = otherwise;
    const auto it = settings_.find(key);
    if (it != settings_.end() && !absl::SimpleAtoi(it->second, &value)) ::abort();
    return value;
  }
  void Duration(const std::string& key, absl::Duration& value) const {
    const auto it = settings_.find(key);
    if (it != settings_.end() && !absl::ParseDuration(it->second, &value)) {
      ::abort();
    }
  }

 private:
  const Settings& settings_;
};

Options MakeOptions(const Settings& settings, Observer* observer,
                    FaultSeam* seam) {
  const SettingsReader read(settings);
  Options options;
  options.path = read.Text("handoff", "");
  options.label = read.Text("label", "toy");
  StateType toy;
  toy.name = "toy";
  toy.lowest = static_cast<uint32_t>(read.Number("lowest", 1));
  toy.highest = static_cast<uint32_t>(read.Number("highest", 2));
  toy.descriptor = ToyState::descriptor();
  StateType counters;
  counters.name = "counters";
  options.state_types = {toy, counters};
  if (read.Number("tokens", 0) > 0) {
    StateType& tokens = options.state_types.emplace_back();
    tokens.name = "tokens";
    tokens.descriptor = ToyTokens::descriptor();
  }
  Deadlines& d = options.deadlines;
  read.Duration("hello", d.hello);
  read.Duration("staging", d.staging);
  read.Duration("frozen", d.frozen);
  read.Duration("quiesce", d.quiesce);
  read.Duration("released", d.released);
  read.Duration("watch", d.watch);
  read.Duration("drain", d.drain);
  read.Duration("frame", d.frame);
  StoreLimits& stored = options.store_limits;
  stored.descriptors = static_cast<size_t>(read.Number("max_stored", 1024));
  read.Duration("store_interval", stored.interval);
  read.Duration("store_proof", stored.proof);
  options.rehearse = read.Number("rehearse", 0) != 0;
  options.use_scm_pidfd = read.Number("scm_pidfd", 1) != 0;
  options.executable = read.Text("exe", "");
  options.arguments = {options.executable, "--toy"};
  for (const auto& [key, value] : settings) {
    // The child is meant to live, whatever its parent was told to do.
    if (key == "stop_at" || key == "signal" || key == "fault") continue;
    options.arguments.push_back(absl::StrCat(key, "=", value));
  }
  options.observer = observer;
  options.fault_seam = seam;
  return options;
}

absl::Status AddTokens(Handoff& handoff, TokenRing& ring) {
  return handoff.AddBlob(
      "tokens",
      [&ring](uint32_t) -> absl::StatusOr<google::protobuf::Any> {
        google::protobuf::Any any;
        any.PackFrom(ring.Save());
        return any;
      },
      [&ring](const google::protobuf::Any& any, uint32_t) {
        ToyTokens tokens;
        if (!any.UnpackTo(&tokens)) {
          return absl::InvalidArgumentError("no tokens");
        }
        ring.Restore(tokens);
        return absl::OkStatus();
      });
}

int PortOf(int fd) {
  sockaddr_in address = {};
  socklen_t size = sizeof(address);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

// What each group accepts from.
absl::StatusOr<Handoff::Shards> Listen(Handoff& handoff,
                                       const std::string& address, bool sharded,
                                       size_t groups) {
  if (sharded) {
    return handoff.ListenSharded("toy", address, static_cast<int>(groups));
  }
  const auto listener = handoff.Listen("toy", address);
  if (!listener.ok()) return listener.status();
  return Handoff::Shards(groups, {*listener});
}

int Fail(const absl::Status& status) {
  Print(absl::StrCat("failed ", status.ToString()));
  return 1;
}

}  // namespace

int RunToyService(const Settings& settings) {
  sigset_t handled;
  sigemptyset(&handled);
  sigaddset(&handled, SIGTERM);
  sigaddset(&handled, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &handled, nullptr);

  const SettingsReader read(settings);
  const int uid = read.Number("uid", -1);
  if (uid >= 0 && ::setuid(static_cast<uid_t>(uid)) != 0) {
    return Fail(absl::ErrnoToStatus(errno, "setuid"));
  }
  Fuse fuse(read.Text("stop_at", ""), read.Number("signal", SIGKILL));
  Fault fault(read.Text("fault", ""), read.Number("record", 0) != 0);
  Options options = MakeOptions(settings, &fuse, &fault);
  std::unique_ptr<FdStore> store;
  if (read.Number("fd_store", 0) != 0) {
    auto given = TakeListenFds();
    if (!given.ok()) return Fail(given.status());
    options.given = *std::move(given);
    auto opened = FdStore::FromEnvironment();
    if (!opened.ok()) return Fail(opened.status());
    store = *std::move(opened);
    options.store = store.get();
  }
  auto started = Handoff::Start(std::move(options));
  if (!started.ok()) return Fail(started.status());
  std::unique_ptr<Handoff> handoff = *std::move(started);

  ToyWorld world;
  world.generation = handoff->generation();
  world.hang_in_quiesce = read.Text("hang", "") == "quiesce";
  world.takes_back = read.Number("take_back", 0) != 0;
  world.farewell = read.Number("farewell", 0) != 0;
  world.send_buffer = read.Number("send_buffer", 0);
  const size_t group_count = static_cast<size_t>(read.Number("groups", 2));
  const auto listeners =
      Listen(*handoff, read.Text("listen", "tcp:127.0.0.1:0"),
             read.Number("sharded", 0) != 0, group_count);
  if (!listeners.ok()) return Fail(listeners.status());
  std::vector<std::unique_ptr<ToyGroup>> groups;
  for (size_t i = 0; i < group_count; ++i) {
    groups.push_back(std::make_unique<ToyGroup>(&world, static_cast<int>(i)));
    if (!groups.back()->whole()) {
      return Fail(absl::ResourceExhaustedError("a loop has no descriptors"));
    }
    world.handles.push_back(handoff->Register(groups.back().get()));
    groups.back()->SetHandle(world.handles.back());
    if (read.Number("accept", 1) == 0) continue;
    for (const int fd : (*listeners)[i]) groups.back()->AddListener(fd);
  }
  const std::string extra = read.Text("extra", "");
  if (!extra.empty()) {
    auto fd =
        handoff->Listen(extra, read.Text("extra_at", "tcp:127.0.0.1:0"));
    if (!fd.ok()) return Fail(fd.status());
    groups.front()->AddListener(*fd);
  }
  const int fail_save = read.Number("fail_save", 0);
  const int fail_restore = read.Number("fail_restore", 0);
  int saves = 0;
  int restores = 0;
  const absl::Status blob = handoff->AddBlob(
      "counters",
      [&](uint32_t) -> absl::StatusOr<google::protobuf::Any> {
        if (++saves == fail_save) return absl::InternalError("told to fail");
        ToyCounters counters;
        counters.set_saves(static_cast<uint64_t>(saves));
        counters.set_lines(world.lines);
        google::protobuf::Any any;
        any.PackFrom(counters);
        return any;
      },
      [&](const google::protobuf::Any& any, uint32_t) {
        ToyCounters counters;
        if (!any.UnpackTo(&counters) || ++restores == fail_restore) {
          return absl::InvalidArgumentError("no counters");
        }
        world.lines = counters.lines();
        return absl::OkStatus();
      });
  if (!blob.ok()) return Fail(blob);
  ToyReceiver receiver(&groups, !read.Text("refuse", "").empty());
  if (read.Number("drop_type", 0) == 0) {
    const absl::Status taken = handoff->TakeSessions("toy", &receiver);
    if (!taken.ok()) return Fail(taken);
  }
  TokenRing ring(static_cast<uint64_t>(read.Number("tokens", 0)));
  if (read.Number("tokens", 0) > 0) {
    world.ring = &ring;
    if (absl::Status s = AddTokens(*handoff, ring); !s.ok()) return Fail(s);
  }
  if (absl::Status ready = handoff->Ready(); !ready.ok()) return Fail(ready);
  if (world.ring != nullptr) {
    Print(absl::StrCat("tokens ", Summary(ring.Save())));
    ring.SetHandles(world.handles);
    for (size_t i = 0; i < groups.size(); ++i) {
      world.handles[i]->Post([&ring, i] { ring.GoOn(i); });
    }
  }
  for (auto& group : groups) group->Run();
  std::unique_ptr<ToyControl> control;
  if (const std::string path = read.Text("control", ""); !path.empty()) {
    control = std::make_unique<ToyControl>(
        &handoff->control(), ControlPath(path, handoff->generation()));
  }
  Print(absl::StrCat("ready ", ::getpid(), " ", handoff->generation(), " ",
                     PortOf((*listeners)[0][0])));

  // The library wakes Wait(); this thread lives for the signals, until the last.
  std::thread signals([&] {
    int signal = 0;
    while (sigwait(&handled, &signal) == 0 && signal == SIGUSR2) {
      const absl::Status upgrade = handoff->StartSuccessor();
      if (!upgrade.ok()) Print(absl::StrCat("refused ", upgrade.ToString()));
    }
    handoff->Stop();
  });
  const absl::StatusOr<Ended> ended = handoff->Wait();
  pthread_kill(signals.native_handle(), SIGTERM);
  signals.join();
  control.reset();
  for (auto& group : groups) group->Join();
  handoff.reset();  // before the groups that it borrows
  if (!ended.ok()) return Fail(ended.status());
  return *ended == Ended::kHandedOff ? 0 : 3;
}

}  // namespace handoff::toy
