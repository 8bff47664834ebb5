#ifndef HANDOFF_SERVER_CHAT_MEMBER_H_
#define HANDOFF_SERVER_CHAT_MEMBER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/chat.pb.h"
#include "server/chat_desk.h"
#include "server/server_state.pb.h"

namespace handoff::server {

// Of rooms, names and topics, each.
inline constexpr size_t kMaxRoomNameBytes = 128;
// Rooms that one client may be in.
inline constexpr size_t kMaxSeats = 16;

// One client's part in the chat: what it says, and what is said to it. Knows no
// frames but those that it passes on.
//
// Whatever the rooms say, a client gets each message once: its seat has the
// number of the last one that it was sent.
class ChatMember final : private RoomMember {
 public:
  // The client's connection.
  class Client {
   public:
    virtual ~Client() = default;
    // Writes it as a text frame.
    virtual void SendText(absl::string_view text) = 0;
    // A frame in answer to what the client has said.
    virtual void SendFrame(absl::string_view frame) = 0;
    // A frame because of what another one has said.
    virtual void DeliverFrame(absl::string_view frame) = 0;
    // What GET /whoami answers.
    virtual std::string Whoami() const = 0;
  };

  // Both are borrowed and outlive this.
  ChatMember(ChatDesk* desk, Client* client) : desk_(desk), client_(client) {}
  ~ChatMember() override { LeaveAll(); }

  // What the client says: a ChatRequest in JSON.
  void OnText(absl::string_view text);
  void LeaveAll();

  void Save(v1::WebSocket* state) const;
  // For one that is in no room. The client is sent what was said since: there
  // is something only where this process goes on with it after a crash. A
  // successor may find something while it is given the state; before it serves,
  // it is given that of all who were told more. INVALID_ARGUMENT
  absl::Status Restore(const v1::WebSocket& state);

 private:
  struct Seat {
    std::string room;
    std::string name;
    uint64_t last_seq = 0;
  };

  void OnDelivery(const Delivery& delivery) override;

  absl::Status Answer(const v1::ChatRequest& request);
  absl::Status Join(const v1::ChatRequest& request);
  absl::Status Leave(absl::string_view room);
  // Of the room that is named, or of the one that was joined last.
  absl::StatusOr<Seat*> SeatFor(const v1::ChatRequest& request);
  Seat* Find(absl::string_view room);

  ChatDesk* const desk_;
  Client* const client_;
  std::vector<Seat> seats_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_CHAT_MEMBER_H_
