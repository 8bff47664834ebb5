#ifndef HANDOFF_EVENT_LOG_H_
#define HANDOFF_EVENT_LOG_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "absl/time/time.h"
#include "handoff/observer.h"
#include "proto/handoff.pb.h"

namespace handoff {

// The blobs in which events are handed over: what there is in the first round,
// and what came since, at the cut. Sent to a successor that says that it reads
// state of the first name.
inline constexpr char kEventsBlob[] = "handoff.events";
inline constexpr char kEventsTailBlob[] = "handoff.events.tail";

// A process of this generation numbers its events within this epoch; one that
// has rolled back, within the epoch after that of the successor that crashed.
inline uint64_t EpochOf(uint64_t generation) { return 2 * generation; }

// The last events of a service, over its generations: bounded, and handed over
// as the ledger is. Thread-safe.
//
// Sequence numbers rise over all generations, with gaps: a process numbers its
// events within an epoch, and the epochs of its successor are higher. So
// whoever has seen an event of a predecessor, even one from after the cut, goes
// on at the successor with what comes after it, and gets nothing twice. Epochs
// count from the second in which the service began, so the numbers of one that
// was started afresh are above those of the one before.
class EventLog {
 public:
  static constexpr size_t kMaxEvents = 1'024;
  static constexpr size_t kMaxTextBytes = 512;

  // The events from here on belong to this epoch. Events that are older wait
  // for their number until the first call. A process of generation G has epoch
  // 2 * G; one that has rolled back, 2 * the highest generation given out + 1.
  void SetEpoch(uint64_t epoch, uint64_t generation);
  // Something is gone of what the predecessor had. Before SetEpoch().
  void NoteGap();
  void Add(const Event& event);

  // What the predecessor had, which goes before our own; twice where more came
  // until the cut. Before SetEpoch().
  void Inherit(const v1::EventHistory& history);
  // For a successor: what came after `after`.
  v1::EventHistory History(uint64_t after) const;

  struct Batch {
    std::vector<v1::EventRecord> events;  // oldest first
    // Whether there were others after `after` that are gone.
    bool missed = false;
  };
  // At most `most` events whose numbers are higher than `after`, 0: from the
  // oldest. Where it is of a service that ended, and this one began anew, that
  // is from the beginning, and others were missed.
  Batch Read(uint64_t after, size_t most) const;
  // 0 where there is none.
  uint64_t last() const;
  // Blocks until there is an event after `after`, Wake() or the deadline.
  void WaitFor(uint64_t after, absl::Time deadline) const;
  // Ends every WaitFor().
  void Wake() const;

 private:
  // With the lock.
  void Number(v1::EventRecord& record);
  void Trim();
  bool OfAnother(uint64_t number) const;
  std::deque<v1::EventRecord>::const_iterator After(uint64_t after) const;

  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  mutable uint64_t wakes_ = 0;
  std::deque<v1::EventRecord> events_;
  std::vector<v1::EventRecord> unnumbered_;
  uint64_t generation_ = 0;
  uint32_t began_ = 0;  // as EventHistory's
  bool gap_ = false;
  uint64_t next_ = 0;     // 0: no epoch yet
  uint64_t dropped_ = 0;  // the highest number that is gone
};

}  // namespace handoff

#endif  // HANDOFF_EVENT_LOG_H_
