#include "server/chat_desk.h"

#include <algorithm>

namespace handoff::server {

absl::StatusOr<Rooms::Joined> ChatDesk::Join(absl::string_view room,
                                             RoomMember* member) {
  absl::StatusOr<Rooms::Joined> joined = rooms_->Join(worker_, room);
  if (joined.ok()) members_[room].push_back(member);
  return joined;
}

Rooms::Joined ChatDesk::Rejoin(absl::string_view room, uint64_t last_seq,
                               RoomMember* member) {
  members_[room].push_back(member);
  return rooms_->Rejoin(worker_, room, last_seq);
}

void ChatDesk::Leave(absl::string_view room, RoomMember* member) {
  const auto it = members_.find(room);
  if (it == members_.end()) return;
  std::vector<RoomMember*>& here = it->second;
  const auto place = std::find(here.begin(), here.end(), member);
  if (place == here.end()) return;
  here.erase(place);
  if (here.empty()) members_.erase(it);
  rooms_->Leave(worker_, room);
}

void ChatDesk::Deliver() {
  for (const Delivery& delivery : rooms_->TakeInbox(worker_)) {
    const auto it = members_.find(delivery.room);
    if (it == members_.end()) continue;
    for (RoomMember* member : it->second) member->OnDelivery(delivery);
  }
}

}  // namespace handoff::server
