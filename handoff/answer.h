#ifndef HANDOFF_ANSWER_H_
#define HANDOFF_ANSWER_H_

#include <atomic>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "handoff/batch_builder.h"
#include "handoff/ledger.h"
#include "handoff/roster.h"
#include "handoff/transport/channel.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Answers the questions of tools, each on a thread of its own, so that neither
// a long answer nor a slow reader disturbs a handoff. At most kMaxAnswers at a
// time. For the library's thread.
class Answers {
 public:
  static constexpr size_t kMaxAnswers = 8;

  // All borrowed; must be safe to read on another thread.
  struct Sources {
    const std::vector<NamedDescriptor>* named;
    std::vector<std::string> blobs;  // their names
    const Roster* roster;
    const LedgerBook* ledger;
    // Everything in Status but the counts of descriptors.
    std::function<v1::Status()> status;
  };

  explicit Answers(Sources sources) : sources_(std::move(sources)) {}
  // Waits for the answers under way, each of which has a deadline.
  ~Answers();

  // Whether kMaxAnswers are under way.
  bool full();
  // Takes over the channel. Not while full().
  void Start(Channel channel, v1::Query::Kind kind, absl::Time deadline);

 private:
  struct Answer {
    std::thread thread;
    std::atomic<bool> done{false};
  };

  void Run(Channel& channel, v1::Query::Kind kind, absl::Time deadline) const;

  const Sources sources_;
  std::list<Answer> answers_;
};

}  // namespace handoff

#endif  // HANDOFF_ANSWER_H_
