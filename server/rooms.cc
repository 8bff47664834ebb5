#include "server/rooms.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/response.h"
#include "server/websocket_frame.h"

namespace handoff::server {

Rooms::Rooms(const ServiceInfo* info, size_t max_rooms)
    : info_(info), max_rooms_(max_rooms) {}

int Rooms::AddWorker() {
  std::lock_guard<std::mutex> lock(mu_);
  workers_.emplace_back();
  return static_cast<int>(workers_.size()) - 1;
}

void Rooms::SetWake(int worker, std::function<void()> wake) {
  std::lock_guard<std::mutex> lock(mu_);
  workers_[worker].wake = std::move(wake);
}

std::string Rooms::FrameOf(absl::string_view room, const Message& message) {
  std::string json = "{\"room\":";
  AppendJsonString(room, &json);
  absl::StrAppend(&json, ",\"seq\":", message.seq, ",\"name\":");
  AppendJsonString(message.name, &json);
  absl::StrAppend(&json, ",\"text\":");
  AppendJsonString(message.text, &json);
  absl::StrAppend(&json, ",\"pid\":", message.pid, ",\"label\":");
  AppendJsonString(message.label, &json);
  json += '}';
  std::string frame;
  AppendTextFrame(json, &frame);
  return frame;
}

Rooms::Room& Rooms::Find(absl::string_view name) {
  const auto it = rooms_.find(name);
  return it != rooms_.end() ? it->second : rooms_[std::string(name)];
}

// For one more room, if need be at the cost of one that nobody is in.
bool Rooms::MakePlace() {
  if (rooms_.size() < max_rooms_) return true;
  auto oldest = rooms_.end();
  for (auto it = rooms_.begin(); it != rooms_.end(); ++it) {
    if (it->second.size > 0) continue;
    if (oldest == rooms_.end() || it->second.used < oldest->second.used) {
      oldest = it;
    }
  }
  if (oldest == rooms_.end()) return false;
  ForgetHistory(oldest->second);
  rooms_.erase(oldest);
  return true;
}

void Rooms::Seat(Room& room, int worker) {
  room.members.resize(workers_.size());
  ++room.members[worker];
  ++room.size;
}

absl::StatusOr<Rooms::Joined> Rooms::Join(int worker, absl::string_view name) {
  std::lock_guard<std::mutex> lock(mu_);
  if (rooms_.find(name) == rooms_.end() && !MakePlace()) {
    return absl::ResourceExhaustedError("there are too many rooms");
  }
  Room& room = Find(name);
  Use(room);
  Seat(room, worker);
  Joined joined = {room.seq, room.topic, {}};
  for (const auto& message : room.history) {
    joined.history.push_back(FrameOf(name, *message));
  }
  return joined;
}

Rooms::Joined Rooms::Rejoin(int worker, absl::string_view name,
                            uint64_t last_seq) {
  std::lock_guard<std::mutex> lock(mu_);
  Room& room = Find(name);
  Seat(room, worker);
  if (room.seq < last_seq) {
    ForgetHistory(room);  // which would have a gap
    room.seq = last_seq;
  }
  Joined joined = {room.seq, room.topic, {}};
  for (const auto& message : room.history) {
    if (message->seq <= last_seq) continue;
    joined.history.push_back(FrameOf(name, *message));
  }
  return joined;
}

void Rooms::Leave(int worker, absl::string_view name) {
  std::lock_guard<std::mutex> lock(mu_);
  const auto it = rooms_.find(name);
  if (it == rooms_.end()) return;
  --it->second.members[worker];
  --it->second.size;
}

absl::Status Rooms::Say(absl::string_view name, absl::string_view who,
                        absl::string_view text) {
  std::vector<int> to_wake;
  {
    std::lock_guard<std::mutex> lock(mu_);
    Room& room = Find(name);
    Message message = {room.seq + 1, std::string(who), std::string(text),
                       info_->pid, info_->label};
    auto frame = std::make_shared<const std::string>(FrameOf(name, message));
    // Written out in JSON it may be longer than it came.
    if (frame->size() > info_->limits.ws_max_message_bytes) {
      return absl::InvalidArgumentError("the text is too long");
    }
    Use(room);
    room.seq = message.seq;
    Keep(room, std::move(message));
    to_wake = Put(room, {std::string(name), room.seq, std::move(frame)});
  }
  Wake(to_wake);
  return absl::OkStatus();
}

absl::Status Rooms::SetTopic(absl::string_view name, absl::string_view who,
                             absl::string_view topic) {
  std::string json = "{\"room\":";
  AppendJsonString(name, &json);
  absl::StrAppend(&json, ",\"topic\":");
  AppendJsonString(topic, &json);
  absl::StrAppend(&json, ",\"name\":");
  AppendJsonString(who, &json);
  json += '}';
  std::string frame;
  AppendTextFrame(json, &frame);
  std::vector<int> to_wake;
  {
    std::lock_guard<std::mutex> lock(mu_);
    Room& room = Find(name);
    Use(room);
    room.topic = std::string(topic);
    to_wake =
        Put(room, {std::string(name), 0,
                   std::make_shared<const std::string>(std::move(frame))});
  }
  Wake(to_wake);
  return absl::OkStatus();
}

void Rooms::Use(Room& room) {
  const bool had = with_history_.erase({room.used, &room}) > 0;
  room.used = ++last_used_;
  if (had) with_history_.insert({room.used, &room});
}

// The history has no gap, so one that is too long itself leaves it empty.
void Rooms::Keep(Room& room, Message message) {
  const size_t bytes = message.bytes();
  room.history_bytes += bytes;
  all_history_bytes_ += bytes;
  room.history.push_back(std::make_shared<const Message>(std::move(message)));
  with_history_.insert({room.used, &room});
  while (room.history.size() > kHistoryMessages ||
         room.history_bytes > kHistoryBytes) {
    ForgetOldest(room);
  }
  // Of the rooms that were used least lately.
  while (all_history_bytes_ > kAllHistoryBytes) {
    ForgetOldest(*with_history_.begin()->second);
  }
}

void Rooms::ForgetOldest(Room& room) {
  const size_t bytes = room.history.front()->bytes();
  room.history_bytes -= bytes;
  all_history_bytes_ -= bytes;
  room.history.pop_front();
  if (room.history.empty()) with_history_.erase({room.used, &room});
}

void Rooms::ForgetHistory(Room& room) {
  while (!room.history.empty()) ForgetOldest(room);
}

std::vector<int> Rooms::Put(const Room& room, Delivery delivery) {
  std::vector<int> to_wake;
  for (size_t i = 0; i < room.members.size(); ++i) {
    if (room.members[i] == 0) continue;
    // Otherwise somebody has woken it, and it has not taken anything since.
    if (workers_[i].inbox.empty()) to_wake.push_back(static_cast<int>(i));
    workers_[i].inbox.push_back(delivery);
  }
  return to_wake;
}

// Without the lock. Nobody is frozen between the inbox and this: the sayer's
// loop is in the middle of what the client has sent, and it has to get to the
// end of that before it can quiesce.
void Rooms::Wake(const std::vector<int>& workers) {
  for (const int worker : workers) workers_[worker].wake();
}

std::vector<Delivery> Rooms::TakeInbox(int worker) {
  std::lock_guard<std::mutex> lock(mu_);
  return std::exchange(workers_[worker].inbox, {});
}

v1::Rooms Rooms::Save(uint32_t version) const {
  struct Copy {
    std::string name;
    uint64_t seq;
    uint64_t used;
    std::string topic;
    std::vector<std::shared_ptr<const Message>> history;
  };
  // It is saved while clients talk too: they wait for no more than this.
  std::vector<Copy> copies;
  {
    std::lock_guard<std::mutex> lock(mu_);
    copies.reserve(rooms_.size());
    for (const auto& [name, room] : rooms_) {
      copies.push_back({name,
                        room.seq,
                        room.used,
                        room.topic,
                        {room.history.begin(), room.history.end()}});
    }
  }
  v1::Rooms state;
  for (const Copy& room : copies) {
    v1::Room* saved = state.add_rooms();
    saved->set_name(room.name);
    saved->set_seq(room.seq);
    saved->set_used(room.used);
    if (version >= 2) saved->set_topic(room.topic);
    for (const auto& message : room.history) {
      v1::Message* said = saved->add_history();
      said->set_seq(message->seq);
      said->set_name(message->name);
      said->set_text(message->text);
      said->set_pid(message->pid);
      said->set_label(message->label);
    }
  }
  return state;
}

absl::Status Rooms::Restore(uint32_t version, const v1::Rooms& state) {
  for (const v1::Room& saved : state.rooms()) {
    uint64_t seq = saved.seq() - static_cast<uint64_t>(saved.history_size());
    for (const v1::Message& said : saved.history()) {
      if (said.seq() != ++seq) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the history of a room has a gap before message ", said.seq()));
      }
    }
  }
  std::lock_guard<std::mutex> lock(mu_);
  auto before = std::exchange(rooms_, {});
  with_history_.clear();
  all_history_bytes_ = 0;
  last_used_ = 0;
  for (const v1::Room& saved : state.rooms()) {
    Room& room = rooms_[saved.name()];
    room.seq = saved.seq();
    room.used = saved.used();
    last_used_ = std::max(last_used_, room.used);
    if (version >= 2) room.topic = saved.topic();
    for (const v1::Message& said : saved.history()) {
      Keep(room,
           {said.seq(), said.name(), said.text(), said.pid(), said.label()});
    }
  }
  for (auto& [name, room] : before) {
    if (room.size == 0) continue;
    Room& kept = rooms_[name];
    kept.members = std::move(room.members);
    kept.size = room.size;
  }
  return absl::OkStatus();
}

}  // namespace handoff::server
