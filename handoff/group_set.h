#ifndef HANDOFF_GROUP_SET_H_
#define HANDOFF_GROUP_SET_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "handoff/fault_seam.h"
#include "handoff/group.h"
#include "handoff/roster.h"

namespace handoff {

// Takes all groups of a process through the four steps of a handoff.
//
// The calls are for the library's thread and never block: each posts to the
// groups' loops, which report back and then call `wake`. A loop that does not
// answer stalls nothing but its own step: whoever waits has a deadline. What a
// loop still runs of an ended handoff does nothing.
class GroupSet {
 public:
  // `wake` may be called from any thread; `seam` may be null; all are borrowed.
  GroupSet(Roster* roster, std::function<void()> wake,
           FaultSeam* seam = nullptr);
  ~GroupSet();

  GroupHandle* Register(Group* group);
  size_t size() const { return members_.size(); }

  // Begins a handoff: ends what is left of an earlier one.
  void Begin(std::map<std::string, uint32_t> versions);
  // The same for live rounds alone, of what a store is to have.
  void BeginStoring(std::map<std::string, uint32_t> versions);

  // A live round: all sessions in the `first`, those that changed later.
  void StartRound(bool first);
  // Every group stops taking input; then the barrier.
  void StartQuiesce();
  // Last snapshots; every group is frozen until Thaw() or StartRelease().
  void StartCut();
  // Of the step that was started last: every group has done it, and for the
  // barrier and the cut, no work that was posted between groups is left.
  bool StepDone() const;
  // Every group is frozen, and work has been posted to one of them since the
  // barrier: it would be lost, and cannot run.
  bool CutSpoiled() const;
  // What the groups have delivered since the last call.
  std::vector<GroupSnapshot> TakeSnapshots();
  // CLOCK_MONOTONIC in nanoseconds of the first group's cut.
  uint64_t cut_at() const;

  // The outcome. Every group that was told to quiesce is thawed or released.
  void Thaw();
  void StartRelease(std::vector<std::string> unclaimed);
  // The handoff is over without a quiesce.
  void Cancel();
  // The successor crashed: every group takes input again, and gets back what
  // nobody touched.
  void ThawReleased();
  void TakeBack(std::map<int, std::vector<Roster::Returned>> returned);
  // This process will not serve again: every group ends what was kept.
  void Drain();

  // Beside a handoff, for an operator: runs `visit` on the loop of group number
  // `group`, uncounted, so that it holds up no barrier. Where the group has
  // quiesced, `instead` is run, or, if there is none, `visit` waits for the
  // group to go on. `released`: a successor serves. Thread-safe.
  using Visitor = std::function<void(Group& group, bool released)>;
  void Visit(int group, Visitor visit,
             std::function<void()> instead = nullptr);
  // Whether a handoff has begun to quiesce and is not decided. Thread-safe.
  bool quiescing() const { return quiescing_.load(); }

  // Calls `done(group, nanoseconds)` on each group's loop when its first poll
  // has returned: CLOCK_MONOTONIC then.
  void AfterFirstPoll(std::function<void(int, uint64_t)> done);

 private:
  struct Steps;
  class Member;

  Roster* const roster_;
  const std::function<void()> wake_;
  FaultSeam* const seam_;
  std::vector<std::unique_ptr<Member>> members_;
  std::shared_ptr<Steps> steps_;
  // Work between groups that was posted and has not run to its end.
  std::shared_ptr<std::atomic<int64_t>> in_flight_;
  std::atomic<bool> quiescing_{false};
  // Whether somebody waits for in_flight_ to become zero.
  std::shared_ptr<std::atomic<bool>> awaited_;
};

}  // namespace handoff

#endif  // HANDOFF_GROUP_SET_H_
