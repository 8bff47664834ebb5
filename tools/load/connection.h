#ifndef HANDOFF_TOOLS_LOAD_CONNECTION_H_
#define HANDOFF_TOOLS_LOAD_CONNECTION_H_

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tools/load/descriptor.h"
#include "tools/load/event_loop.h"
#include "tools/load/exchange.h"
#include "tools/load/gap_meter.h"

namespace handoff::load {

// One non-blocking TCP connection to the server and the exchange that is under
// way on it. Not thread-safe; on the loop's thread.
class Connection : public EventLoop::Handler {
 public:
  // Without a byte for so long where one is due, the connection counts as lost:
  // several times the longest freeze that a handoff may cause.
  static constexpr absl::Duration kPatience = absl::Seconds(10);

  // From within any of the calls the connection may be closed, and after
  // OnAnswer() started again, but not destroyed.
  class Owner {
   public:
    virtual ~Owner() = default;
    // Bytes of a body have come, and were right.
    virtual void OnChecked(uint64_t bytes) = 0;
    // The whole answer was as it has to be (and, where the exchange wanted
    // that, the server has closed the connection).
    virtual void OnAnswer(const std::string& text) = 0;
    // Anything else; says what and where. The connection is closed.
    virtual void OnFailure(const std::string& why) = 0;
  };

  // What one exchange made its client wait.
  struct Waits {
    // For bytes of the answer that were due at once: from the request's last
    // byte to the answer's first; and, unless it is paced, for each next bytes,
    // from when this side was ready to read them.
    absl::Duration answer;
    // From Open() to the first byte of the answer; of use for the connection's
    // first exchange.
    absl::Duration since_open;
    // The longest within a paced answer, beyond its usual.
    absl::Duration pace;
  };

  // How the connection failed.
  struct Failure {
    enum class Kind {
      kRefused,  // connect(2) was: nobody listens
      kReset,    // by the other side
      kClosed,   // by the other side, in good order
      kOther,    // bytes that are wrong, silence, an error of this side
    };
    Kind kind = Kind::kOther;
    // Bytes of a request had been sent, and its answer was not complete.
    bool in_flight = false;
    // For people, without where it happened: the same for all that fail alike.
    std::string what;
  };

  // Both are borrowed and outlive the connection.
  Connection(EventLoop* loop, Owner* owner) : loop_(*loop), owner_(*owner) {}
  ~Connection() override { Close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Begins to connect. `small_buffers`: with little room in the kernel on
  // either side, as over a network with a small window, so that a slow reader
  // leaves the server with bytes that it cannot write. Codes by
  // absl::ErrnoToStatus. Not from within OnFailure().
  absl::Status Open(const sockaddr_in& server, bool small_buffers);
  // Begins an exchange after `pause`; none may be under way. Where `hold` is
  // not 0, so many bytes are sent, and the rest after Release().
  void Start(Exchange exchange, absl::Duration pause, size_t hold = 0);
  void Release();
  void Close();

  // How many exchanges were begun: with its first byte or the attempt to send.
  uint64_t begun() const { return begun_; }
  bool is_open() const { return socket_.valid(); }
  // Between two exchanges, with nothing planned.
  bool idle() const { return state_ == State::kIdle; }
  // The request is sent up to where Start() was told to hold it.
  bool held() const { return state_ == State::kHeld; }
  // Between the first and the last byte of a request.
  bool mid_request() const;
  // Between the first and the last byte of an answer.
  bool mid_answer() const;

  // Of the exchange that OnAnswer() is called for.
  Waits waits() const;
  // The same: the server said that it closes the connection now.
  bool answer_closes() const {
    return checker_ != nullptr && checker_->closes();
  }
  // From OnFailure() on, or where Open() has failed.
  const Failure& failure() const { return failure_; }
  // Fails the connection if it has made no progress for kPatience.
  void CheckPatience();

  void OnReady(uint32_t events) override;
  void OnTimer() override;

 private:
  enum class State {
    kConnecting,
    kIdle,
    kPausing,  // until the timer
    kSending,  // now, or at the timer
    kHeld,     // until Release()
    kReading,  // the answer
    kEnding,   // the answer was complete; end of file has to follow
  };

  void OnConnected();
  void Pause();
  void Begin();
  void Send();
  void Receive();
  void Take(absl::string_view bytes);
  void Finish();
  void Fail(absl::string_view why, Failure::Kind kind = Failure::Kind::kOther);
  void FailWithErrno(absl::string_view call, int error);
  absl::Status NotOpened(absl::string_view call, int error);
  // Has the loop watch what the state needs.
  void Watch();

  EventLoop& loop_;
  Owner& owner_;
  Descriptor socket_;
  EventLoop::Id id_ = 0;
  uint32_t watched_ = 0;
  State state_ = State::kConnecting;
  uint64_t begun_ = 0;

  Exchange exchange_;
  std::unique_ptr<AnswerChecker> checker_;
  bool planned_ = false;  // exchange_ is still to be begun
  absl::Duration pause_;
  size_t hold_ = 0;
  size_t sent_ = 0;
  bool send_blocked_ = false;
  bool read_paused_ = false;

  absl::Time last_progress_;
  absl::Time opened_;
  // Since when bytes of the answer are due, as far as this side is concerned.
  absl::Time due_since_;
  absl::Duration answer_wait_;
  absl::Duration since_open_;
  GapMeter pace_;
  Failure failure_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_CONNECTION_H_
