#ifndef HANDOFF_TOOLS_LOAD_CHAT_CLIENT_H_
#define HANDOFF_TOOLS_LOAD_CHAT_CLIENT_H_

#include <netinet/in.h>
#include <wslay/wslay.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tools/load/descriptor.h"
#include "tools/load/event_loop.h"
#include "tools/load/message_check.h"
#include "tools/load/tally.h"
#include "tools/load/whoami.h"

namespace handoff::load {

// What the members of one room have in common.
struct ChatRoom {
  std::string name;
  size_t members = 0;  // that are to be there
  size_t joined = 0;   // that are: nobody speaks before all are
  uint64_t said = 0;   // by all together
};

// A member of a room, by WebSocket: talks all the time and checks what it is
// told. Not thread-safe; on the loop's thread.
class ChatClient : public EventLoop::Handler {
 public:
  // Everything is borrowed and outlives this. `number` is of the member, from 1
  // on.
  ChatClient(ChatRoom* room, size_t number, uint64_t seed, EventLoop* loop,
             Generations* generations, Tally* tally);
  ~ChatClient() override { Close(); }
  ChatClient(const ChatClient&) = delete;
  ChatClient& operator=(const ChatClient&) = delete;

  void Open(const sockaddr_in& server);
  // Says no more, waits for what was said, and leaves in good order.
  void WindDown() { winding_down_ = true; }
  // Fails where nothing has come for Connection::kPatience.
  void CheckPatience();

  // Was told something that the process which serves has numbered.
  bool proven() const { return proven_ > generations_.current(); }
  bool lost() const { return lost_; }
  // Ended in good order.
  bool kept() const { return kept_; }
  bool ended() const { return lost_ || kept_; }

  void OnReady(uint32_t events) override;
  void OnTimer() override;

 private:
  enum class State { kHandshake, kJoining, kTalking, kClosing };

  void Shake();
  void Exchange();
  void Say();
  void Write(absl::string_view text);
  void OnText(absl::string_view json);
  void LeaveWhenDone();
  void Fail(absl::string_view why);
  void Close();
  void Watch();

  // wslay's; `client` is a ChatClient.
  static ssize_t Receive(wslay_event_context_ptr context, uint8_t* buffer,
                         size_t size, int flags, void* client);
  static ssize_t Send(wslay_event_context_ptr context, const uint8_t* data,
                      size_t size, int flags, void* client);
  static int MakeMask(wslay_event_context_ptr context, uint8_t* mask,
                      size_t size, void* client);
  static void OnMessage(wslay_event_context_ptr context,
                        const wslay_event_on_msg_recv_arg* message,
                        void* client);

  ChatRoom& room_;
  const size_t number_;
  EventLoop& loop_;
  Generations& generations_;
  Tally& tally_;
  std::mt19937_64 random_;
  MessageCheck check_;

  Descriptor socket_;
  EventLoop::Id id_ = 0;
  State state_ = State::kHandshake;
  std::string answer_;  // to the handshake
  std::unique_ptr<wslay_event_context, void (*)(wslay_event_context_ptr)>
      context_{nullptr, wslay_event_context_free};
  bool end_of_file_ = false;

  uint64_t said_ = 0;
  absl::Time said_at_;  // the last
  size_t proven_ = 0;
  absl::Time last_progress_;
  bool winding_down_ = false;
  bool lost_ = false;
  bool kept_ = false;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_CHAT_CLIENT_H_
