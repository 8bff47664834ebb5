#ifndef HANDOFF_TOOLS_LOAD_KEPT_CONNECTION_H_
#define HANDOFF_TOOLS_LOAD_KEPT_CONNECTION_H_

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tools/load/connection.h"
#include "tools/load/event_loop.h"
#include "tools/load/tally.h"
#include "tools/load/whoami.h"

namespace handoff::load {

// What a connection that is to live through every handoff does all the time.
enum class Kind {
  kRequests,    // small requests, one after the other; some are held half sent
  kStreams,     // slow downloads that span several handoffs
  kUploads,     // slow uploads, which come back once they are complete
  kSlowReader,  // uploads that come back faster than the client reads
  kIdle,        // nothing at all, but for one request between two handoffs
};
inline constexpr size_t kKinds = 5;

// One such connection. Between its other exchanges it asks /whoami, and takes
// the answer for true only if it fits what the client itself knows: the process
// is one that may answer and not an older one than before, the connection has
// kept its identity, and has counted as many requests and handoffs as there
// were. Not thread-safe.
class KeptConnection : public Connection::Owner {
 public:
  // A process is trusted to have sent a stream's bytes itself if they come so
  // long after it said that it serves: what the one before it had sent has then
  // been read.
  static constexpr absl::Duration kSettle = absl::Milliseconds(100);

  // Everything is borrowed and outlives this.
  KeptConnection(Kind kind, uint64_t seed, EventLoop* loop,
                 Generations* generations, Tally* tally);

  // Connects and asks /whoami for the first time.
  absl::Status Open(const sockaddr_in& server);

  // The next request is held half sent until OnServes(). Only of kRequests.
  void PlanHold() { hold_planned_ = true; }
  // Streams that begin from here on are short, so that the end is not long.
  void ShortStreams() { short_streams_ = true; }
  // A new process serves (or the one that should was given up).
  void OnServes();
  // Ends what is under way, asks /whoami once more, and closes.
  void WindDown();

  // Called right before a handoff starts, and after its successor serves: the
  // latter tells whether the connection was cut in the middle of a message,
  // which it was if both times it was within the same request or answer.
  void BeforeHandoff();
  bool WasCut() const;

  // Bytes that the current process has sent were checked.
  bool proven() const { return proven_ > generations_.current(); }
  // proven(), and held where that was planned: the next handoff may come.
  bool prepared() const;
  bool lost() const { return lost_; }
  // WindDown() is complete and all was well, in every generation of processes.
  bool kept() const { return kept_; }
  bool ended() const { return lost_ || kept_; }
  Kind kind() const { return kind_; }
  void CheckPatience() { connection_.CheckPatience(); }

  // Connection::Owner.
  void OnChecked(uint64_t bytes) override;
  void OnAnswer(const std::string& text) override;
  void OnFailure(const std::string& why) override;

 private:
  void Next();
  Exchange WorkExchange();
  absl::Status CheckWhoami(const std::string& text);
  uint64_t Between(uint64_t low, uint64_t high);

  const Kind kind_;
  EventLoop& loop_;
  Generations& generations_;
  Tally& tally_;
  std::mt19937_64 random_;
  Connection connection_;

  bool asks_whoami_ = true;
  bool hold_planned_ = false;
  bool short_streams_ = false;
  bool winding_down_ = false;
  bool last_asked_ = false;
  bool lost_ = false;
  bool kept_ = false;

  // What the last answer of /whoami said.
  std::string id_;
  size_t generation_ = 0;
  // How many generations are proven: always the oldest.
  size_t proven_ = 0;
  absl::Time serves_since_;

  uint64_t exchange_before_ = 0;
  bool request_before_ = false;
  bool answer_before_ = false;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_KEPT_CONNECTION_H_
