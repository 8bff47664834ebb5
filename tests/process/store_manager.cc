#include "tests/process/store_manager.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/store_log.h"
#include "handoff/store_shelf.h"

extern char** environ;

namespace handoff::toy {
namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START

std::string Identity(int fd) {
  const auto info = DescribeDescriptor(fd);
  return info.ok() ? absl::StrCat(info->kind(), " ", info->socket_cookie(), " ",
                                  info->device(), " ", info->inode())
                   : "";
}

template <typename Done>
bool Until(const Done& done) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!done()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

}  // namespace

StoreManager::StoreManager()
    : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder_ / "notify").c_str(),
               sizeof(address.sun_path) - 1);
  if (::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address),
             sizeof(address)) != 0) {
    ::abort();
  }
  if (!EnableSenderIdentity(socket_.get(), /*want_pidfd=*/false).ok()) {
    ::abort();
  }
  thread_ = std::thread([this] { Run(); });
}

void StoreManager::SetMain(pid_t pid) {
  std::lock_guard<std::mutex> lock(mu_);
  Receive();  // as to who was it until now
  main_ = pid;
}

StoreManager::~StoreManager() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    quit_ = true;
  }
  thread_.join();
}

void StoreManager::Run() {
  while (true) {
    pollfd polled = {socket_.get(), POLLIN, 0};
    ::poll(&polled, 1, 20);  // to look for what has hung up, and for the end
    std::lock_guard<std::mutex> lock(mu_);
    if (quit_) return;
    Receive();
    DropHungUp();
  }
}

void StoreManager::Receive() {
  while (true) {
    auto message = ReceiveMessage(socket_.get(), 4096);
    if (!message.ok()) return;
    if (main_ != 0 && message->credentials.has_value() &&
        message->credentials->pid != main_) {
      continue;
    }
    Take(std::string(message->bytes.begin(), message->bytes.end()),
         std::move(message->descriptors));
  }
}

void StoreManager::DropHungUp() {
  kept_.erase(std::remove_if(kept_.begin(), kept_.end(),
                             [](const Kept& kept) {
                               pollfd polled = {kept.fd.get(), 0, 0};
                               return kept.polled &&
                                      ::poll(&polled, 1, 0) > 0 &&
                                      polled.revents != 0;
                             }),
              kept_.end());
}

void StoreManager::Take(const std::string& message, std::vector<UniqueFd> fds) {
  std::map<std::string, std::string> words;
  for (const auto& line : absl::StrSplit(message, '\n')) {
    words.insert(absl::StrSplit(line, absl::MaxSplits('=', 1)));
  }
  const std::string name = words["FDNAME"];
  if (words.count("FDSTOREREMOVE") != 0) {
    kept_.erase(std::remove_if(kept_.begin(), kept_.end(),
                               [&](const Kept& k) { return k.name == name; }),
                kept_.end());
  }
  if (words.count("FDSTORE") == 0) return;
  for (UniqueFd& fd : fds) {
    std::string identity = Identity(fd.get());
    // What systemd has, it has once, under the name that came first.
    if (std::any_of(kept_.begin(), kept_.end(),
                    [&](const Kept& k) { return k.identity == identity; })) {
      continue;
    }
    kept_.push_back(
        {name, std::move(fd), std::move(identity), words["FDPOLL"] != "0"});
  }
}

std::unique_ptr<ToyProcess> StoreManager::Start(const Settings& settings) {
  std::vector<std::string> words = {"/proc/self/exe", "--toy"};
  for (const auto& [key, value] : settings) {
    words.push_back(absl::StrCat(key, "=", value));
  }
  return StartProgram(std::move(words));
}

std::unique_ptr<ToyProcess> StoreManager::StartProgram(
    std::vector<std::string> words) {
  std::lock_guard<std::mutex> lock(mu_);
  Receive();  // all that a process has sent before it died
  DropHungUp();
  // Backwards, as systemd does: the order means nothing.
  std::reverse(kept_.begin(), kept_.end());
  std::vector<std::string> names;
  // Above the numbers at which the child is to have them.
  std::vector<UniqueFd> copies;
  for (const Kept& kept : kept_) {
    names.push_back(kept.name);
    copies.emplace_back(::fcntl(kept.fd.get(), F_DUPFD_CLOEXEC,
                                kFirst + static_cast<int>(kept_.size()) + 1));
  }
  std::vector<std::string> environment = {"NOTIFY_SOCKET=" +
                                          (folder_ / "notify")};
  for (char** e = environ; *e != nullptr; ++e) {
    if (!absl::StartsWith(*e, "LISTEN_") &&
        !absl::StartsWith(*e, "NOTIFY_SOCKET")) {
      environment.push_back(*e);
    }
  }
  if (!names.empty()) {
    environment.push_back(absl::StrCat("LISTEN_FDS=", names.size()));
    environment.push_back("LISTEN_FDNAMES=" + absl::StrJoin(names, ":"));
  }
  return std::make_unique<ToyProcess>(std::move(words), std::move(environment),
                                      copies);
}

std::multiset<std::string> StoreManager::names() {
  std::lock_guard<std::mutex> lock(mu_);
  Receive();
  DropHungUp();
  std::multiset<std::string> names;
  for (const Kept& kept : kept_) names.insert(kept.name);
  return names;
}

size_t StoreManager::sessions() {
  size_t count = 0;
  for (const std::string& name : names()) {
    count += StoredSessionOf(name).has_value();
  }
  return count;
}

size_t StoreManager::logs() {
  size_t count = 0;
  for (const std::string& name : names()) count += IsStoredLogName(name);
  return count;
}

bool StoreManager::WaitEmpty() {
  return Until([this] { return names().empty(); });
}

bool StoreManager::WaitSessions(size_t count) {
  return Until([&] { return sessions() == count; });
}

bool StoreManager::WaitLogs(size_t count) {
  return Until([&] { return logs() == count; });
}

bool StoreManager::CurrentLocked(size_t count, std::set<uint64_t>* untouched) {
  Receive();
  DropHungUp();
  absl::optional<StoreLogContent> newest;
  for (const Kept& kept : kept_) {
    if (!IsStoredLogName(kept.name)) continue;
    auto content = ReadStoreLog(kept.fd.get(), 1 << 30);
    if (!content.ok() || !content->rest.ok()) return false;
    if (!newest.has_value() || content->head.made_at > newest->head.made_at) {
      newest = *std::move(content);
    }
  }
  if (!newest.has_value()) return false;
  std::map<uint64_t, v1::StoredSession> sessions;
  for (v1::StoredEntry& entry : newest->entries) {
    if (entry.has_session()) {
      sessions[entry.session().record().id()] = entry.session();
    } else {
      sessions.erase(entry.ended());
    }
  }
  size_t current = 0;
  for (const auto& [id, session] : sessions) {
    for (const Kept& kept : kept_) {
      if (kept.name != StoredSessionName(id)) continue;
      const auto now = ReadTcpCounters(kept.fd.get());
      const auto& then = session.record().descriptors(0).counters();
      if (now.ok() && now->consumed() == then.consumed() &&
          now->written() == then.written()) {
        ++current;
        if (untouched != nullptr) untouched->insert(id);
      }
    }
  }
  return sessions.size() == count && current == count;
}

bool StoreManager::Current(size_t count) {
  std::lock_guard<std::mutex> lock(mu_);
  return CurrentLocked(count, nullptr);
}

bool StoreManager::WaitCurrent(size_t count) {
  return Until([&] { return Current(count); });
}

std::set<uint64_t> StoreManager::Untouched() {
  std::lock_guard<std::mutex> lock(mu_);
  std::set<uint64_t> untouched;
  CurrentLocked(0, &untouched);
  return untouched;
}

}  // namespace handoff::toy
