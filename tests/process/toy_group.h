#ifndef TESTS_PROCESS_TOY_GROUP_H_
#define TESTS_PROCESS_TOY_GROUP_H_

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "handoff/handoff.h"
#include "tests/process/token_ring.h"
#include "tests/process/toy.pb.h"

namespace handoff::toy {

// What all groups share.
struct ToyWorld {
  uint64_t generation = 0;
  std::atomic<uint64_t> lines{0};
  std::vector<GroupHandle*> handles;
  bool hang_in_quiesce = false;
  bool takes_back = false;
  bool farewell = false;
  TokenRing* ring = nullptr;  // where there are tokens
  int send_buffer = 0;  // SO_SNDBUF of connections; 0: the kernel's
};

// The answer to "flood N", without its end.
std::string FloodPattern(size_t bytes);

// One level-triggered epoll loop on a thread of its own.
class ToyGroup : public Group {
 public:
  ToyGroup(ToyWorld* world, int index);
  ~ToyGroup() override;

  // Whether it has the descriptors that it needs.
  bool whole() const { return epoll_ >= 0 && wake_ >= 0; }
  // Before the loop runs.
  void SetHandle(GroupHandle* handle) { handle_ = handle; }
  void AddListener(int fd);
  void Restore(const std::shared_ptr<Session>& session,
               const SessionSnapshot& snapshot);
  void Drop(Session& session);
  void Run();
  void Join();

  void Post(std::function<void()> fn) override;
  absl::Status Snapshot(Session& session, SessionWriter& writer) override;
  void Quiesce() override;
  void Thaw() override;
  void Release(absl::Span<const std::shared_ptr<Session>> moved,
               absl::Span<const std::string> unclaimed) override;
  void Drain() override;
  // Graceful: once the output is written.
  void DrainSession(Session& session, bool at_once) override;
  bool SetAccepting(bool accepting) override;
  bool TakesBack() const override { return world_->takes_back; }
  void TakeBack(const std::shared_ptr<Session>& session,
                const SessionSnapshot& snapshot) override {
    Restore(session, snapshot);
  }

 private:
  struct Client {
    std::shared_ptr<Session> session;
    std::string input;
    std::string output;
    ToyState state;
    bool ending = false;
  };

  void Loop();
  void RunPosted();
  void Accept(int listener);
  void Read(Client& client);
  void Handle(Client& client, const std::string& line);
  void Flush(Client& client);
  void EndIfDrained(Client& client);
  void End(Client& client, bool reset);
  void Watch(int op, int fd, uint32_t events, uint64_t tag);

  ToyWorld* const world_;
  const int index_;
  GroupHandle* handle_ = nullptr;
  int epoll_;
  int wake_;
  std::vector<int> listeners_;
  std::unordered_map<uint64_t, Client> clients_;
  bool taking_input_ = true;
  bool accepting_ = true;
  std::atomic<bool> quit_{false};
  std::mutex mu_;
  std::deque<std::function<void()>> posted_;
  std::thread thread_;
};

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_TOY_GROUP_H_
