#ifndef TESTS_BENCHMARK_HANDOFFS_ECHO_GROUP_H_
#define TESTS_BENCHMARK_HANDOFFS_ECHO_GROUP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "google/protobuf/wrappers.pb.h"
#include "handoff/handoff.h"

namespace handoff::benchmark {

inline constexpr char kSessionType[] = "echo";

// An epoll loop whose sessions echo what comes. As a service with care would
// have it: one entry of epoll for each session, level-triggered, registered
// when it is restored; the whole epoll instance is let go of at Release.
class EchoGroup : public Group {
 public:
  // `changes`: how many sessions change at Quiesce().
  EchoGroup(size_t state_bytes, size_t changes);
  ~EchoGroup() override;

  // Before Run(); borrowed.
  void SetHandle(GroupHandle* handle) { handle_ = handle; }
  void Listen(int listener);
  absl::Status Restore(const std::shared_ptr<Session>& session,
                       const SessionSnapshot& snapshot);
  void Drop(Session& session);

  // Starts the loop, which serves from here on.
  void Run();
  // Ends it.
  void End();

  void Post(std::function<void()> fn) override;
  absl::Status Snapshot(Session& session, SessionWriter& writer) override;
  void Quiesce() override;
  void Thaw() override;
  void Release(absl::Span<const std::shared_ptr<Session>> moved,
               absl::Span<const std::string> unclaimed) override;

 private:
  struct Client {
    std::shared_ptr<Session> session;
    google::protobuf::BytesValue state;
    int fd = -1;
    bool registered = false;
  };

  void Loop();
  void Accept();
  void Echo(Client& client);
  void Register(Client& client);
  void RunPosted();

  const size_t state_bytes_;
  const size_t changes_;
  GroupHandle* handle_ = nullptr;
  const UniqueFd wake_;
  UniqueFd epoll_;
  int listener_ = -1;
  bool accepts_ = true;
  bool serves_ = true;
  std::unordered_map<uint64_t, Client> clients_;
  std::atomic<bool> ending_{false};
  std::mutex mu_;
  std::vector<std::function<void()>> posted_;  // guarded by mu_
  std::thread thread_;
};

}  // namespace handoff::benchmark

#endif  // TESTS_BENCHMARK_HANDOFFS_ECHO_GROUP_H_
