#ifndef HANDOFF_PROCESS_H_
#define HANDOFF_PROCESS_H_

#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "handoff/answer.h"
#include "handoff/draining.h"
#include "handoff/giving.h"
#include "handoff/group_set.h"
#include "handoff/handoff.h"
#include "handoff/ledger.h"
#include "handoff/named_descriptors.h"
#include "handoff/process_control.h"
#include "handoff/process_rehearsal.h"
#include "handoff/process_store.h"
#include "handoff/reporter.h"
#include "handoff/roster.h"
#include "handoff/staged_state.h"
#include "handoff/taking.h"
#include "handoff/transport/spawn.h"
#include "handoff/wake.h"

namespace handoff {

// Handoff, for real. Start() to Ready() run on the service's thread, and Taking
// has one beside it; from Ready() on the library's thread (Run) owns everything
// but what says otherwise.
class Process : public Handoff {
 public:
  static absl::StatusOr<std::unique_ptr<Process>> Start(Options options);
  ~Process() override;

  bool took_over() const override { return took_over_; }
  uint64_t generation() const override { return generation_; }
  absl::StatusOr<int> Listen(absl::string_view name,
                             absl::string_view address) override;
  absl::StatusOr<Shards> ListenSharded(absl::string_view name,
                                       absl::string_view address,
                                       int workers) override;
  absl::StatusOr<int> Descriptor(
      absl::string_view name,
      absl::FunctionRef<absl::StatusOr<UniqueFd>()> make) override;
  absl::Status AddBlob(absl::string_view name, SaveBlob save,
                       RestoreBlob restore) override;
  GroupHandle* Register(Group* group) override;
  absl::Status TakeSessions(absl::string_view type,
                            SessionReceiver* receiver) override;
  absl::Status Ready() override;
  absl::StatusOr<Ended> Wait() override;
  void Stop() override;
  absl::Status StartSuccessor() override;
  v1::Ledger GetLedger() const override { return ledger_.Get(); }
  Control& control() override { return control_; }

 private:
  friend class ProcessControl;
  friend class ProcessStore;
  using Rehearsal = ProcessRehearsal;

  // Somebody connected and has not said what for.
  struct Caller {
    Channel channel;
    absl::Time deadline;
  };
  // A session that a receiver has restored, before the commit.
  struct Taken {
    std::shared_ptr<Session> session;
    SessionReceiver* receiver;
  };

  Process(Options options, Wake wake, std::unique_ptr<Rehearsal> rehearsal);

  // Up to the commit.
  absl::Status CheckOptions() const;
  absl::Status Meet();
  absl::Status StartFresh(UniqueFd listener);
  absl::Status Inherit();
  void InheritLedger();
  // What a predecessor sent or a store gave; null on a fresh start.
  StagedInventory* inherited();
  uint32_t VersionOf(const std::string& type);
  absl::Status Restore(StagedInventory::Arrival& arrival,
                       SessionReceiver* receiver);
  // Everything of the first round; an error is that of the handoff.
  absl::Status RestoreStaged();
  void RestoreOrRefuse(StagedInventory::Arrival& arrival,
                       SessionReceiver* receiver);
  void ForgetGone(const std::vector<uint64_t>& gone);
  absl::Status ApplyChanges();
  absl::Status RestoreBlobValue(const std::string& name);
  bool InheritEvents(const std::string& blob);
  v1::Ready MakeReady();
  void AdoptUntouched();
  // What was taken and what was not claimed.
  void AddTaken(v1::LedgerHandoff& handoff);
  void Drop(Taken& taken);
  void DropTaken();
  absl::Status CheckType(absl::string_view name) const;

  // In a rehearsal. Noted() returns `status`, and does nothing elsewhere.
  absl::Status Noted(absl::string_view category, absl::string_view name,
                     absl::Status status);
  void NoteMet(Taking& taking);
  absl::Status Rehearse();
  void AddFailed();
  absl::Status EndRehearsal(const absl::Status& status);

  // The library's thread.
  void Run();
  void AwaitFirstPolls();
  void RecordTaking();
  void RecordBlackouts();
  void Accept(absl::Time now);
  void Hear(absl::Time now);
  void Answer(Channel channel, const v1::Frame& frame, absl::Time now);
  void Refuse(Channel& channel, v1::Refuse::Reason reason,
              absl::string_view why);
  void TakeChild(absl::Time now);
  void WatchChild(absl::Time now);
  void Advance(absl::Time now);
  // Whoever drains must not hold a socket at which nobody accepts: where the
  // successor ends too, the path would be taken and nobody be there.
  void LetGoOfThePath();
  // A successor serves and nobody is watched any more.
  Draining& BeginDraining(bool stopping, absl::Time now);
  void Finish(absl::StatusOr<Ended> ended);
  absl::Time NextWake(absl::Time now) const;
  // Whether this process answers at the handoff socket.
  bool in_charge() const {
    return giving_ == nullptr || !giving_->committed() ||
           giving_->rolled_back();
  }
  bool gives_to_child() const {
    return child_.has_value() && giving_ != nullptr &&
           giving_->peer() != nullptr &&
           giving_->peer()->credentials.pid == child_->pid;
  }

  const std::unique_ptr<Rehearsal> rehearsal_;  // null: it is to take over
  const Options options_;
  EventLog events_;
  const Reporter report_;
  ProcessControl control_{this};
  const absl::Time started_ = absl::Now();
  uint64_t generation_ = 0;
  uint64_t highest_generation_ = 0;  // given out so far, by us or before
  bool took_over_ = false;
  Wake wake_;
  Roster roster_;
  GroupSet groups_;
  LedgerBook ledger_;
  Belongings belongings_;
  NamedDescriptors descriptors_{&options_, &report_, &belongings_.named};

  // The handoff that made us; null on a fresh start.
  std::unique_ptr<Taking> taking_;
  ProcessStore store_{this};
  absl::Status staging_;  // why that failed
  StateReader reader_{options_.limits};
  std::map<std::string, SessionReceiver*> receivers_;
  // Of the first round, by type: for whom there is no receiver yet.
  std::map<std::string, std::vector<StagedInventory::Arrival>> waiting_;
  std::map<std::string, RestoreBlob> blob_restorers_;
  absl::flat_hash_map<uint64_t, Taken> taken_;
  std::map<uint64_t, std::string> refused_;
  std::map<uint64_t, std::string> lost_;  // types, by id
  bool leaves_listeners_ = false;         // to the predecessor

  // The library's thread.
  std::map<int, uint64_t> taken_by_group_;
  uint64_t taken_handoff_ = 0;
  uint64_t cut_at_ = 0;
  std::unique_ptr<Giving> giving_;
  std::unique_ptr<Answers> answers_;
  std::unique_ptr<Draining> draining_;  // null until the watch is over
  std::list<Caller> callers_;
  bool finished_ = false;  // Wait() has its answer
  absl::optional<Child> child_;
  absl::Time child_deadline_ = absl::InfiniteFuture();
  absl::Time accept_again_ = absl::InfinitePast();

  mutable std::mutex mu_;  // guards what follows
  std::condition_variable ended_changed_;
  absl::optional<absl::StatusOr<Ended>> ended_;
  bool stopping_ = false;
  bool quit_ = false;
  bool spawning_ = false;  // a child was started and has not ended
  bool busy_ = false;      // a handoff is under way, or done
  absl::optional<std::pair<Child, std::string>> new_child_;  // and its path
  // Groups whose first poll has returned, and when.
  std::vector<std::pair<int, uint64_t>> first_polls_;
  std::string state_ = "serving";

  bool ready_called_ = false;
  std::thread thread_;
};

}  // namespace handoff

#endif  // HANDOFF_PROCESS_H_
