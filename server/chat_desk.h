#ifndef HANDOFF_SERVER_CHAT_DESK_H_
#define HANDOFF_SERVER_CHAT_DESK_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/rooms.h"

namespace handoff::server {

// Somebody in rooms.
class RoomMember {
 public:
  virtual ~RoomMember() = default;
  // May not come or go before it returns.
  virtual void OnDelivery(const Delivery& delivery) = 0;
};

// Who of one worker's clients is in which room. For the loop's thread, and
// before the loop runs for the thread that restores.
class ChatDesk {
 public:
  // `rooms` is borrowed and outlives this.
  explicit ChatDesk(Rooms* rooms)
      : rooms_(rooms), worker_(rooms->AddWorker()) {}

  Rooms& rooms() { return *rooms_; }
  int worker() const { return worker_; }

  // The codes of Rooms. `member` is borrowed until it leaves.
  absl::StatusOr<Rooms::Joined> Join(absl::string_view room,
                                     RoomMember* member);
  Rooms::Joined Rejoin(absl::string_view room, uint64_t last_seq,
                       RoomMember* member);
  void Leave(absl::string_view room, RoomMember* member);

  // Hands out what is in this worker's inbox.
  void Deliver();

 private:
  Rooms* const rooms_;
  const int worker_;
  absl::flat_hash_map<std::string, std::vector<RoomMember*>> members_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_CHAT_DESK_H_
