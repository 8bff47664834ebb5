#ifndef TESTS_PROCESS_HOSTILE_PEER_H_
#define TESTS_PROCESS_HOSTILE_PEER_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/transport/channel.h"
#include "proto/handoff.pb.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {

// One end of a connection with a toy service, in the hands of somebody who
// does not keep to the protocol. Says the truth about what is not the attack:
// numbers, counts and descriptors are filled in where they are left empty.
class HostilePeer {
 public:
  explicit HostilePeer(UniqueFd socket);

  // `tamper` sees the finished frame last, and may change anything.
  // Borrows `descriptors`.
  void Send(v1::Frame frame, absl::Span<const int> descriptors = {},
            const std::function<void(v1::Frame&)>& tamper = nullptr);
  // Bytes that need be no frame.
  void SendBytes(const std::string& bytes);
  // The first descriptor of a first frame.
  int pidfd() const { return pidfd_.get(); }
  int fd() const;

  // The next frame that is not an acknowledgement. Empty, and a failure of the
  // test, where none comes.
  v1::Frame Receive();
  // The reason and the detail of the Refuse or Abort that comes, whatever comes
  // before: "MALFORMED: no hello in time". "<end>" where there is none.
  std::string Verdict();

 private:
  absl::optional<Channel> channel_;
  UniqueFd pidfd_;
  uint64_t sent_ = 0;
};

// Connects to the handoff socket at `path`. Invalid where its queue is full.
UniqueFd ConnectToPath(const std::string& path);

// Asks a service again and again, on a thread of its own, and looks at every
// answer.
class SteadyClient {
 public:
  explicit SteadyClient(int port);
  // Ends with a failure of the test where an answer was wrong or missing.
  ~SteadyClient();
  SteadyClient(const SteadyClient&) = delete;
  SteadyClient& operator=(const SteadyClient&) = delete;

 private:
  ToyClient client_;
  std::atomic<bool> quit_ = false;
  int answers_ = 0;
  std::string wrong_;
  std::thread thread_;
};

// What a process may not have more of after an attack than before it.
class Footprint {
 public:
  explicit Footprint(pid_t pid);
  // Fails the test where a descriptor was left, or too much memory.
  void ExpectUnchanged() const;

 private:
  const pid_t pid_;
  const std::map<std::string, int> descriptors_;
  const int64_t kilobytes_;
};

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_HOSTILE_PEER_H_
