#ifndef HANDOFF_ANSWER_H_
#define HANDOFF_ANSWER_H_

#include <atomic>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "handoff/batch_builder.h"
#include "handoff/control.h"
#include "handoff/ledger.h"
#include "handoff/roster.h"
#include "handoff/transport/channel.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Each of a process's belongings, as tools are told.
v1::InventoryItem DescribeNamed(const NamedDescriptor& named,
                                bool details = false);
v1::InventoryItem DescribeBlob(const std::string& name);

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
    LedgerBook* ledger;
    Control* control;
    // Called, on any thread, when an answer is done: then Sweep().
    std::function<void()> wake;
  };

  explicit Answers(Sources sources) : sources_(std::move(sources)) {}
  // Breaks off the answers under way. Who follows an upgrade that has come to its
  // end is told.
  ~Answers();

  // Takes the channel over and answers on it. RESOURCE_EXHAUSTED, with the
  // channel left alone, where kMaxAnswers are under way or there can be no more
  // threads.
  absl::Status Start(Channel& channel, v1::Query query,
                     absl::Time deadline);
  // Closes the connections of those that are done.
  void Sweep();

 private:
  struct Answer {
    explicit Answer(Channel taken) : channel(std::move(taken)) {}
    Channel channel;
    bool upgrade = false;
    std::thread thread;
    std::atomic<bool> done{false};
  };

  void Run(Channel& channel, const v1::Query& query, absl::Time deadline) const;
  void Upgrade(Channel& channel, const v1::Query& query,
               class Replies& replies) const;

  const Sources sources_;
  std::atomic<bool> ending_{false};
  std::list<Answer> answers_;
};

}  // namespace handoff

#endif  // HANDOFF_ANSWER_H_
