#ifndef HANDOFF_TOOLS_LOAD_LOAD_H_
#define HANDOFF_TOOLS_LOAD_LOAD_H_

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "tools/load/chat_client.h"
#include "tools/load/event_loop.h"
#include "tools/load/kept_connection.h"
#include "tools/load/tally.h"
#include "tools/load/whoami.h"

namespace handoff::load {

// All the clients of the server. Not thread-safe; Tick() and the loop drive it.
class Load {
 public:
  struct Options {
    // Connections that live through every handoff, shared out over the kinds
    // and the members of rooms.
    size_t kept = 1540;
    // Connections of one request each, opened a second.
    double short_per_second = 300;
    uint64_t seed = 0;
  };

  // Everything is borrowed and outlives this.
  Load(const Options& options, const sockaddr_in& server, EventLoop* loop,
       Generations* generations, Tally* tally);
  ~Load();

  // Opens what is due and looks after what stands still. To be called every
  // few milliseconds.
  void Tick();

  // Every kept connection is open, proven() and as the next handoff wants it.
  bool Prepared() const;
  // For people, where Prepared() does not come true.
  std::string DescribeUnprepared() const;

  // Around a handoff: some requests are to be held half sent when it comes,
  // each time others; then, right before it starts; then, with the successor
  // serving, how many connections were cut in the middle of a message; then the
  // held ones go on.
  void PlanHolds();
  void BeforeHandoff();
  size_t CountCut() const;
  void OnServes();

  // Streams that begin from here on are short.
  void ShortStreams();
  // Opens nothing more, and ends every connection in good order.
  void WindDown();
  bool Ended() const;

  size_t kept_open() const { return kept_.size() + chatting_.size(); }
  size_t CountKept() const;
  size_t CountLost() const;

 private:
  class ShortConnection;

  void OpenKept();
  void OpenChatting(size_t most);
  void OpenShort();

  const Options options_;
  const sockaddr_in server_;
  EventLoop& loop_;
  Generations& generations_;
  Tally& tally_;

  std::vector<Kind> kinds_;  // of each connection that is to be kept
  std::vector<std::unique_ptr<KeptConnection>> kept_;
  size_t members_ = 0;  // of all rooms
  std::vector<std::unique_ptr<ChatRoom>> rooms_;
  std::vector<std::unique_ptr<ChatClient>> chatting_;
  std::vector<std::unique_ptr<ShortConnection>> short_;
  bool winding_down_ = false;
  size_t holding_ = 0;  // which third of the small requests is held next
  absl::Time next_short_;
  absl::Time next_check_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_LOAD_H_
