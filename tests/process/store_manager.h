#ifndef TESTS_PROCESS_STORE_MANAGER_H_
#define TESTS_PROCESS_STORE_MANAGER_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/types/optional.h"
#include "handoff/fd/unique_fd.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {

// Does for toy services what systemd does for its own: keeps what they send to
// NOTIFY_SOCKET with FDSTORE=1, forgets it with FDSTOREREMOVE=1 or, unless
// FDPOLL=0, when it hangs up, and starts them with it in LISTEN_FDS.
// Thread-safe.
class StoreManager {
 public:
  StoreManager();
  ~StoreManager();

  // A service that is started as systemd does it, with all that is kept.
  std::unique_ptr<ToyProcess> Start(const Settings& settings);
  // The same of another program, words[0], and its arguments.
  std::unique_ptr<ToyProcess> StartProgram(std::vector<std::string> words);

  // Takes messages of this process alone (NotifyAccess=main); 0: of all.
  void SetMain(pid_t pid);

  // What is kept, by name; several of one name are there several times.
  std::multiset<std::string> names();
  // Of these: sessions.
  size_t sessions();
  // Waits until it keeps that.
  bool WaitEmpty();
  bool WaitSessions(size_t count);
  bool WaitLogs(size_t count);

  // Whether the newest log has this many sessions, and of each the counters
  // that the kernel has now; and waits until it is so.
  bool Current(size_t count);
  bool WaitCurrent(size_t count);
  // Sessions of the newest log whose counters are the kernel's.
  std::set<uint64_t> Untouched();
  size_t logs();

 private:
  struct Kept {
    std::string name;
    UniqueFd fd;
    std::string identity;
    bool polled = true;
  };

  void Run();
  // With the lock.
  void Receive();
  void DropHungUp();
  void Take(const std::string& message, std::vector<UniqueFd> fds);
  bool CurrentLocked(size_t count, std::set<uint64_t>* untouched);

  ShortFolder folder_;
  UniqueFd socket_;
  std::mutex mu_;  // guards what follows
  std::vector<Kept> kept_;
  pid_t main_ = 0;
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_STORE_MANAGER_H_
