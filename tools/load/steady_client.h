#ifndef HANDOFF_TOOLS_LOAD_STEADY_CLIENT_H_
#define HANDOFF_TOOLS_LOAD_STEADY_CLIENT_H_

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "tools/load/connection.h"
#include "tools/load/event_loop.h"
#include "tools/load/exchange.h"
#include "tools/load/latency_recorder.h"

namespace handoff::load {

// What clients of one kind do.
struct SteadyWork {
  // In the report: "kept".
  std::string name;
  Exchange exchange;
  // One connection for all requests, opened anew at once where it breaks;
  // otherwise one for each, which this side closes after the answer.
  bool keeps = false;
  // From one request to the next. Zero: each follows the answer to the last.
  absl::Duration interval;
};

// What clients of one kind saw. Not thread-safe.
struct SteadyFigures {
  uint64_t ok = 0;
  // A request was begun, and no complete right answer came, for any reason.
  uint64_t lost = 0;
  // Attempts to connect.
  uint64_t refused = 0;
  // Connections, with a request in flight or not.
  uint64_t reset = 0;
  // Connections in the place of a kept one that had ended, from their first
  // answer on.
  uint64_t reconnects = 0;
  // Requests that were under way when the run was over, and not stuck.
  uint64_t unfinished = 0;
  LatencyRecorder latency;
  // The longest time in which one client had no answer though it wanted one.
  absl::Duration longest_gap;
  // What ended connections before their time, and how often. Some kinds; from
  // then on all others together.
  static constexpr size_t kMaxCauses = 50;
  void AddCause(const std::string& cause) {
    const bool known = causes.contains(cause) || causes.size() < kMaxCauses;
    ++causes[known ? cause : "others"];
  }
  std::map<std::string, uint64_t> causes;
};

// A client in a closed loop: one request after the other, for any HTTP/1.1
// server whose answers have a length or are chunked.
//
// Requests are due by the clock, whatever becomes of those before. One that
// could not be sent when it was due, because the last had no answer yet or
// nobody could be reached, is sent late, and its latency counts from when it
// was due: what a stall does to those that come after it is in the figures. One
// that is lost is made again until it is answered; it has one latency, with all
// that.
//
// A kept connection that the server closes between two requests, or with an
// answer that said so, loses no request. It has not survived.
//
// Not thread-safe; on the loop's thread.
class SteadyClient : public Connection::Owner, public EventLoop::Handler {
 public:
  // Between two attempts where the first has brought nothing.
  static constexpr absl::Duration kRetry = absl::Milliseconds(10);

  // Everything is borrowed and outlives this.
  SteadyClient(const SteadyWork* work, const sockaddr_in& server,
               EventLoop* loop, SteadyFigures* figures);
  ~SteadyClient() override;
  SteadyClient(const SteadyClient&) = delete;
  SteadyClient& operator=(const SteadyClient&) = delete;

  // Of a kept connection: connects and makes one request. Again if that fails.
  void Open();
  // That was answered, and the connection is idle.
  bool open() const { return connection_.idle() && quiet(); }

  // Requests from `first` on; figures are of the time since `start`.
  void Begin(absl::Time start, absl::Time first);
  // What is not due yet will not be asked for.
  void WindDown();
  // Everything that was asked for is answered.
  bool quiet() const { return !under_way_ && due_ >= end_; }
  // After WindDown(): gives up what has no answer.
  void End();

  // Never broken since Begin(), and still open. Of a kept connection.
  bool survived() const { return !broken_ && connection_.is_open(); }
  // To be called every second or so.
  void CheckPatience() { connection_.CheckPatience(); }

  // Connection::Owner.
  void OnChecked(uint64_t) override {}
  void OnAnswer(const std::string& text) override;
  void OnFailure(const std::string& why) override;
  // EventLoop::Handler, for the timer alone.
  void OnReady(uint32_t) override {}
  void OnTimer() override;

 private:
  bool due() const { return !quiet() && loop_.now() >= due_; }
  void Connect();
  // The connection has ended, or could not be made.
  void Broke(const Connection::Failure& failure);
  void NoteGap();

  const SteadyWork& work_;
  const sockaddr_in server_;
  EventLoop& loop_;
  SteadyFigures& figures_;
  Connection connection_;
  const EventLoop::Id timer_;

  absl::Time start_;
  // Of the request that is under way, or comes next.
  absl::Time due_ = absl::InfiniteFuture();
  // Requests that are due from here on are not made.
  absl::Time end_ = absl::InfinitePast();
  absl::Time answered_ = absl::InfinitePast();
  absl::Time connect_at_ = absl::InfinitePast();
  bool under_way_ = false;
  bool winding_down_ = false;
  bool broken_ = false;
  // The connection comes in the place of another, and has had no answer yet.
  bool reconnected_ = false;
  // Nothing was answered since a connection broke.
  bool in_vain_ = false;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_STEADY_CLIENT_H_
