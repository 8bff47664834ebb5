#include "server/chat_member.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/response.h"

namespace handoff::server {
namespace {

absl::Status CheckName(absl::string_view what, absl::string_view name) {
  if (!name.empty() && name.size() <= kMaxRoomNameBytes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(what, " has 1 to ", kMaxRoomNameBytes, " bytes"));
}

absl::Status NotUnderstood() {
  return absl::InvalidArgumentError(
      "not understood: it is one of {\"join\":ROOM,\"name\":NAME}, "
      "{\"say\":TEXT}, {\"topic\":TEXT}, these two with \"room\":ROOM or "
      "without, {\"leave\":ROOM}, and {\"whoami\":true}");
}

}  // namespace

void ChatMember::OnText(absl::string_view text) {
  v1::ChatRequest request;
  const bool parsed =
      google::protobuf::util::JsonStringToMessage(
          google::protobuf::StringPiece(text.data(), text.size()), &request)
          .ok();
  const absl::Status answered = parsed ? Answer(request) : NotUnderstood();
  if (answered.ok()) return;
  std::string json = "{\"error\":";
  AppendJsonString(answered.message(), &json);
  json += '}';
  client_->SendText(json);
}

absl::Status ChatMember::Answer(const v1::ChatRequest& request) {
  const int verbs = (request.has_join() ? 1 : 0) + (request.has_say() ? 1 : 0) +
                    (request.has_topic() ? 1 : 0) +
                    (request.has_leave() ? 1 : 0) +
                    (request.has_whoami() ? 1 : 0);
  if (verbs != 1 || request.has_join() != request.has_name() ||
      (request.has_room() && !request.has_say() && !request.has_topic())) {
    return NotUnderstood();
  }
  if (request.has_join()) return Join(request);
  if (request.has_leave()) return Leave(request.leave());
  if (request.has_whoami()) {
    client_->SendText(client_->Whoami());
    return absl::OkStatus();
  }
  const absl::StatusOr<Seat*> seat = SeatFor(request);
  if (!seat.ok()) return seat.status();
  if (request.has_say()) {
    return desk_->rooms().Say((*seat)->room, (*seat)->name, request.say());
  }
  if (request.topic().size() > kMaxRoomNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a topic has at most ", kMaxRoomNameBytes, " bytes"));
  }
  return desk_->rooms().SetTopic((*seat)->room, (*seat)->name, request.topic());
}

absl::Status ChatMember::Join(const v1::ChatRequest& request) {
  const std::string& room = request.join();
  if (absl::Status s = CheckName("a room's name", room); !s.ok()) return s;
  if (absl::Status s = CheckName("a name", request.name()); !s.ok()) return s;
  if (Find(room) != nullptr) {
    return absl::AlreadyExistsError("you are in that room");
  }
  if (seats_.size() >= kMaxSeats) {
    return absl::ResourceExhaustedError(
        absl::StrCat("nobody can be in more than ", kMaxSeats, " rooms"));
  }
  absl::StatusOr<Rooms::Joined> joined = desk_->Join(room, this);
  if (!joined.ok()) return joined.status();
  seats_.push_back({room, request.name(), joined->seq});
  std::string json = "{\"joined\":";
  AppendJsonString(room, &json);
  absl::StrAppend(&json, ",\"seq\":", joined->seq);
  if (!joined->topic.empty()) {
    absl::StrAppend(&json, ",\"topic\":");
    AppendJsonString(joined->topic, &json);
  }
  json += '}';
  client_->SendText(json);
  for (const std::string& frame : joined->history) client_->SendFrame(frame);
  return absl::OkStatus();
}

absl::Status ChatMember::Leave(absl::string_view room) {
  Seat* seat = Find(room);
  if (seat == nullptr) return absl::NotFoundError("you are not in that room");
  desk_->Leave(room, this);
  std::string json = "{\"left\":";
  AppendJsonString(room, &json);
  json += '}';
  seats_.erase(seats_.begin() + (seat - seats_.data()));
  client_->SendText(json);
  return absl::OkStatus();
}

void ChatMember::LeaveAll() {
  for (const Seat& seat : seats_) desk_->Leave(seat.room, this);
  seats_.clear();
}

absl::StatusOr<ChatMember::Seat*> ChatMember::SeatFor(
    const v1::ChatRequest& request) {
  if (request.has_room()) {
    Seat* seat = Find(request.room());
    if (seat != nullptr) return seat;
    return absl::NotFoundError("you are not in that room");
  }
  if (seats_.empty()) return absl::NotFoundError("you are in no room");
  return &seats_.back();
}

ChatMember::Seat* ChatMember::Find(absl::string_view room) {
  const auto it =
      std::find_if(seats_.begin(), seats_.end(),
                   [&](const Seat& seat) { return seat.room == room; });
  return it == seats_.end() ? nullptr : &*it;
}

void ChatMember::OnDelivery(const Delivery& delivery) {
  Seat* seat = Find(delivery.room);
  if (seat == nullptr) return;
  if (delivery.seq != 0) {
    // Said before this client joined, and so in what it was given then.
    if (delivery.seq <= seat->last_seq) return;
    seat->last_seq = delivery.seq;
  }
  client_->DeliverFrame(*delivery.frame);
}

void ChatMember::Save(v1::WebSocket* state) const {
  for (const Seat& seat : seats_) {
    v1::Seat* saved = state->add_seats();
    saved->set_room(seat.room);
    saved->set_name(seat.name);
    saved->set_last_seq(seat.last_seq);
  }
}

absl::Status ChatMember::Restore(const v1::WebSocket& state) {
  for (const v1::Seat& seat : state.seats()) {
    if (seats_.size() >= kMaxSeats || Find(seat.room()) != nullptr) {
      return absl::InvalidArgumentError(
          "a client is in a room twice, or in too many");
    }
    const Rooms::Joined joined =
        desk_->Rejoin(seat.room(), seat.last_seq(), this);
    seats_.push_back({seat.room(), seat.name(), joined.seq});
    for (const std::string& frame : joined.history) client_->SendFrame(frame);
  }
  return absl::OkStatus();
}

}  // namespace handoff::server
