#ifndef HANDOFF_SERVER_ROOMS_H_
#define HANDOFF_SERVER_ROOMS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/server_state.pb.h"
#include "server/service_info.h"

namespace handoff::server {

// The versions of v1::Rooms.
inline constexpr uint32_t kLowestRoomsVersion = 1;
inline constexpr uint32_t kHighestRoomsVersion = 2;

// What a room keeps for those who join: the last messages, at most so many, and
// of at most so many bytes.
inline constexpr size_t kHistoryMessages = 100;
inline constexpr size_t kHistoryBytes = 128 * 1024;
// What all rooms keep together: the blackout is as long as it takes to move
// that, and clients decide how many rooms there are. Beside it the state has at
// most 300 bytes for each room; with 1000 rooms all is below the mebibyte that
// may be kept for a crash.
inline constexpr size_t kAllHistoryBytes = 512 * 1024;

// One thing for everybody in a room, as it is written to each.
struct Delivery {
  std::string room;
  // Of a message; 0: it is none.
  uint64_t seq = 0;
  std::shared_ptr<const std::string> frame;
};

// The rooms of a process: what was said in each, with its number, and which
// workers have somebody there. Who that is each worker's ChatDesk knows.
//
// What is said is put into the inbox of every worker that has a member, under
// the same lock as it is numbered. So each worker sees a room's messages in the
// order of their numbers, without a gap.
//
// An inbox is emptied by work that is posted through the handoff's GroupHandle,
// which a cut waits for: at the cut every inbox is empty, and everything that
// has a number is in the output of every member.
//
// Thread-safe.
class Rooms {
 public:
  // `info` is borrowed and outlives this.
  Rooms(const ServiceInfo* info, size_t max_rooms);

  // Before the others. `wake` has the worker call TakeInbox() soon; it is
  // called by any thread, with no lock held. Returns the worker's number.
  int AddWorker();
  void SetWake(int worker, std::function<void()> wake);

  struct Joined {
    uint64_t seq = 0;  // of the last message
    std::string topic;
    // Frames of the last messages; the last of them has `seq`.
    std::vector<std::string> history;
  };
  // One more member at `worker`. RESOURCE_EXHAUSTED where there are too many
  // rooms.
  absl::StatusOr<Joined> Join(int worker, absl::string_view room);
  // The same for one that was there in another process, or here, and was sent
  // all up to `last_seq`: the history is what was said after that. Where this
  // process does not know the room, or has an older state of it, its numbers go
  // on there.
  Joined Rejoin(int worker, absl::string_view room, uint64_t last_seq);
  void Leave(int worker, absl::string_view room);

  // To all in the room, of whom there is one. INVALID_ARGUMENT where it would
  // be longer than what a client may send.
  absl::Status Say(absl::string_view room, absl::string_view name,
                   absl::string_view text);
  absl::Status SetTopic(absl::string_view room, absl::string_view name,
                        absl::string_view topic);

  std::vector<Delivery> TakeInbox(int worker);

  v1::Rooms Save(uint32_t version) const;
  // Replaces everything but the members. INVALID_ARGUMENT where it makes no
  // sense.
  absl::Status Restore(uint32_t version, const v1::Rooms& state);

 private:
  struct Message {
    uint64_t seq = 0;
    std::string name;
    std::string text;
    int64_t pid = 0;
    std::string label;

    // At least as many as v1::Message needs.
    size_t bytes() const {
      return name.size() + text.size() + label.size() + 40;
    }
  };
  struct Room {
    uint64_t seq = 0;
    uint64_t used = 0;
    std::string topic;
    std::deque<std::shared_ptr<const Message>> history;
    size_t history_bytes = 0;
    std::vector<uint32_t> members;  // by worker
    size_t size = 0;                // their sum
  };
  struct Worker {
    std::function<void()> wake;
    std::vector<Delivery> inbox;
  };

  static std::string FrameOf(absl::string_view room, const Message& message);
  Room& Find(absl::string_view name);
  bool MakePlace();
  void Seat(Room& room, int worker);
  void Use(Room& room);
  void Keep(Room& room, Message message);
  void ForgetOldest(Room& room);
  void ForgetHistory(Room& room);
  // Returns the workers to wake.
  std::vector<int> Put(const Room& room, Delivery delivery);
  void Wake(const std::vector<int>& workers);

  const ServiceInfo* const info_;
  const size_t max_rooms_;

  mutable std::mutex mu_;
  // Sorted, so that what has not changed is saved as the same bytes.
  std::map<std::string, Room, std::less<>> rooms_;
  uint64_t last_used_ = 0;
  // Those that have a history, with their `used`.
  std::set<std::pair<uint64_t, Room*>> with_history_;
  size_t all_history_bytes_ = 0;
  std::vector<Worker> workers_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_ROOMS_H_
