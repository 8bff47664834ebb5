#ifndef TESTS_PROCESS_TRAFFIC_H_
#define TESTS_PROCESS_TRAFFIC_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "handoff/fd/unique_fd.h"

namespace handoff::toy {

// Clients of the toy service while a handoff goes on, all on one thread, each
// of which knows every byte that has to come:
//
//   4 kept      a numbered echo every few milliseconds
//   3 asking    have sent half a line, and send the rest when told to finish
//   3 reading   have read half of a large answer, and read on when told to
//   2 short     connect, ask, read to the end, again and again; with one of
//   them
//               the service closes first, with the other the client
//
// The first three kinds are tracked: sessions that live through everything.
// Thread-safe.
class Traffic {
 public:
  static constexpr size_t kTracked = 10;
  static constexpr size_t kShort = 2;

  explicit Traffic(int port);
  ~Traffic();

  // Every tracked connection has its session and its half. False after
  // kPatience, as with all of these.
  bool WaitUnderWay();
  // Every kept connection that lives has had some more answers.
  bool WaitProgress();
  // No short connection is open any more, and none is opened.
  bool PauseShort();
  void ResumeShort();
  // Every tracked connection that lives has had all of its answers, and the
  // service has counted its bytes as the kernel and the client have.
  bool Finish();

  struct Report {
    std::set<uint64_t> sessions;  // of the tracked connections
    std::set<uint64_t> lost;      // those of them whose connection has ended
    int short_done = 0;
    int short_lost = 0;  // accepted, and ended without the answer
    int refused = 0;     // connect(2) was
    // What must never be: bytes that are not those that have to come.
    std::vector<std::string> wrong;
    absl::Time last_refused = absl::InfinitePast();
    // Where each connection stands, for a failure's message.
    std::string standing;
  };
  Report GetReport();

 private:
  enum class Kind { kKept, kAsking, kReading };
  enum class Counted { kNever, kAsked, kDone };

  struct Tracked {
    Kind kind;
    UniqueFd fd;
    uint64_t session = 0;
    uint64_t sent = 0;
    uint64_t received = 0;
    uint64_t read_limit = UINT64_MAX;
    std::string to_send;
    std::string expected;  // what has to come, from the next byte on
    Counted counted = Counted::kNever;
    std::string count;  // the answer as far as it has come
    uint64_t echoes = 0;
    uint64_t answered = 0;  // echoes
    absl::Time next_echo = absl::InfinitePast();
    bool half_done = false;  // the second half was asked for
    bool lost = false;
    bool under_way = false;
    bool finished = false;
  };
  struct Short {
    UniqueFd fd;
    bool connected = false;
    bool client_closes = false;
    uint64_t number = 0;
    std::string expected;
    absl::Time next = absl::InfinitePast();
  };

  void Run();
  void StepTracked(Tracked& t);
  void Ask(Tracked& t, const std::string& line, const std::string& answer);
  void AskCount(Tracked& t);
  void Receive(Tracked& t);
  void CheckCount(Tracked& t);
  void StepShort(Short& s);
  void Wrong(const std::string& what);
  bool Until(const std::function<bool()>& done);

  const int port_;
  std::mutex mu_;  // guards all that follows
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Tracked>> tracked_;
  std::vector<Short> short_;
  Report report_;
  bool short_paused_ = false;
  bool finishing_ = false;
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_TRAFFIC_H_
