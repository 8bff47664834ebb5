// What an operator asks of a process.

#include "handoff/process_control.h"

#include <unistd.h>

#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/fd/open_descriptors.h"
#include "handoff/memory_use.h"
#include "handoff/process.h"
#include "handoff/protocol/frame.h"
#include "handoff/transport/spawn.h"

namespace handoff {
namespace {

// Of what an operator gives as a reason: it goes into frames and the ledger.
constexpr size_t kMaxReasonBytes = 512;

}  // namespace

v1::Status ProcessControl::GetStatus() const {
  const Process& process = *process_;
  v1::Status status;
  status.set_pid(::getpid());
  status.set_generation(process.generation_);
  status.set_label(process.options_.label);
  status.set_uptime_seconds(
      absl::ToDoubleSeconds(absl::Now() - process.started_));
  status.set_blobs(process.belongings_.blobs.size());
  for (const NamedDescriptor& named : process.belongings_.named) {
    if (named.role == v1::Descriptors::LISTENER) {
      status.set_listeners(status.listeners() + 1);
    } else if (named.role == v1::Descriptors::OTHER) {
      status.set_descriptors(status.descriptors() + 1);
    }
  }
  const OpenDescriptors open = CountOpenDescriptors();
  status.set_open_descriptors(open.count);
  status.set_descriptor_limit(open.limit);
  status.set_sessions(process.roster_.size());
  if (auto last = process.ledger_.Last(); last.has_value()) {
    *status.mutable_last_handoff() = *std::move(last);
  }
  status.set_accepting(accepting_.load());
  const MemoryUse memory = ReadMemoryUse();
  status.set_resident_bytes(memory.resident);
  status.set_memory_limit(memory.limit);
  std::lock_guard<std::mutex> lock(process.mu_);
  status.set_state(process.state_);
  if (progress_.has_value()) *status.mutable_handoff() = *progress_;
  if (Locked()) {
    status.mutable_lock()->set_reason(lock_->reason);
    status.mutable_lock()->set_expires_at(
        static_cast<uint64_t>(absl::ToUnixNanos(lock_->expiry)));
  }
  return status;
}

v1::Ledger ProcessControl::GetLedger() const { return process_->ledger_.Get(); }

v1::Ledger ProcessControl::GetLedgerSummaries() const {
  return process_->ledger_.Summaries();
}

std::vector<v1::InventoryItem> ProcessControl::GetInventory() const {
  std::vector<v1::InventoryItem> items;
  for (const NamedDescriptor& named : process_->belongings_.named) {
    if (named.role == v1::Descriptors::HANDOFF_LISTENER) {
      // The one that the library's thread may close: LetGoOfThePath().
      std::lock_guard<std::mutex> lock(process_->mu_);
      if (*named.fd) items.push_back(DescribeNamed(named, /*details=*/true));
      continue;
    }
    items.push_back(DescribeNamed(named, /*details=*/true));
  }
  for (const Belongings::Blob& blob : process_->belongings_.blobs) {
    items.push_back(DescribeBlob(blob.name));
  }
  for (v1::InventoryItem& item :
       process_->roster_.Inventory(/*details=*/true)) {
    items.push_back(std::move(item));
  }
  return items;
}

const EventLog& ProcessControl::events() const { return process_->events_; }

void ProcessControl::Audit(absl::string_view text) {
  {
    std::lock_guard<std::mutex> lock(process_->mu_);
    if (audits_.size() == kMaxAudits) {
      ++audits_dropped_;
      return;
    }
    audits_.push_back(Printable(text));
  }
  process_->wake_();
}

void ProcessControl::ReportAudits() {
  std::deque<std::string> audits;
  uint64_t dropped;
  {
    std::lock_guard<std::mutex> lock(process_->mu_);
    audits.swap(audits_);
    dropped = std::exchange(audits_dropped_, 0);
  }
  for (const std::string& text : audits) {
    process_->report_(Event::Kind::kAudit, 0, text);
  }
  if (dropped != 0) {
    process_->report_(Event::Kind::kAudit, 0,
                      absl::StrCat("and ", dropped, " more at that moment"));
  }
}

absl::StatusOr<pid_t> ProcessControl::StartSuccessor(
    const std::string& executable) {
  const Options& options = process_->options_;
  if (executable.empty()) return Launch(options.executable, options.arguments);
  std::vector<std::string> arguments = options.arguments;
  if (arguments.empty()) arguments.emplace_back();
  arguments[0] = executable;
  return Launch(executable, arguments);
}

absl::StatusOr<pid_t> ProcessControl::Launch(
    const std::string& executable, const std::vector<std::string>& arguments) {
  Process& process = *process_;
  {
    std::lock_guard<std::mutex> lock(process.mu_);
    const std::string why =
        process.stopping_    ? "this process is stopping"
        : process.spawning_  ? "a successor was started and still runs"
        : process.busy_      ? "a handoff is under way or done"
        : Locked()           ? LockedText()
        : executable.empty() ? "Options::executable is not set"
                             : "";
    if (!why.empty()) return absl::FailedPreconditionError(why);
    process.spawning_ = true;
  }
  auto child = SpawnSuccessor(executable, arguments,
                              process.options_.orphan_successor);
  std::lock_guard<std::mutex> lock(process.mu_);
  if (!child.ok()) {
    process.spawning_ = false;
    return child.status();
  }
  const pid_t pid = child->pid;
  process.new_child_.emplace(*std::move(child), executable);
  process.wake_();
  return pid;
}

bool ProcessControl::Locked() const {
  return lock_.has_value() && absl::Now() < lock_->expiry;
}

std::string ProcessControl::LockedText() const {
  if (!Locked()) return "";
  return absl::StrCat("locked until ",
                      absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", lock_->expiry,
                                       absl::UTCTimeZone()),
                      ": ", lock_->reason);
}

absl::Status ProcessControl::Lock(absl::string_view reason, absl::Time expiry) {
  std::lock_guard<std::mutex> lock(process_->mu_);
  if (process_->busy_) {
    return absl::FailedPreconditionError("a handoff is under way or done");
  }
  if (expiry <= absl::Now()) {
    return absl::InvalidArgumentError("the lock's expiry has passed");
  }
  lock_ = {Printable(reason).substr(0, kMaxReasonBytes), expiry};
  return absl::OkStatus();
}

absl::Status ProcessControl::Unlock() {
  std::lock_guard<std::mutex> lock(process_->mu_);
  const bool locked = Locked();
  lock_.reset();
  return locked ? absl::OkStatus()
                : absl::FailedPreconditionError("there is no lock");
}

absl::Status ProcessControl::Abort(absl::string_view reason,
                                   absl::Time deadline) {
  auto call = std::make_shared<AbortCall>();
  call->reason = absl::StrCat("aborted by an operator: ",
                              Printable(reason).substr(0, kMaxReasonBytes));
  std::unique_lock<std::mutex> lock(process_->mu_);
  if (ended_) return absl::FailedPreconditionError("no handoff is under way");
  aborts_.push_back(call);
  process_->wake_();
  const auto done = [&] { return call->result.has_value(); };
  if (deadline == absl::InfiniteFuture()) {
    aborts_changed_.wait(lock, done);
  } else {
    aborts_changed_.wait_until(lock, absl::ToChronoTime(deadline), done);
  }
  // Moved: a status that two threads share counts its owners in code that
  // ThreadSanitizer does not see.
  if (done()) return *std::move(call->result);
  // It stays to be carried out.
  return absl::DeadlineExceededError(
      "the handoff was told to abort and has not ended yet");
}

void ProcessControl::Finish(AbortCall& call, absl::Status result) {
  call.result = std::move(result);
  aborts_changed_.notify_all();
}

void ProcessControl::ForgetAborts() {
  aborts_.remove_if([](const auto& call) { return call->result.has_value(); });
}

void ProcessControl::CarryAborts(absl::Time now) {
  Process& process = *process_;
  Giving* giving = process.giving_.get();
  std::unique_lock<std::mutex> lock(process.mu_);
  for (const std::shared_ptr<AbortCall>& call : aborts_) {
    if (call->result.has_value() || call->handoff != 0 || call->child != 0) {
      continue;
    }
    if (giving == nullptr && process.child_.has_value()) {
      // It has not even said Hello.
      call->child = process.child_->pid;
      process.child_deadline_ = now;
    } else if (giving == nullptr) {
      Finish(*call, absl::FailedPreconditionError("no handoff is under way"));
    } else {
      giving->Abort(call->reason, now);
      call->handoff = giving->handoff_id();
      if (giving->committed()) {
        Finish(*call,
               absl::FailedPreconditionError("the handoff is committed"));
      }
    }
  }
}

void ProcessControl::EndAborts() {
  const Process& process = *process_;
  const uint64_t handoff =
      process.giving_ == nullptr ? 0 : process.giving_->handoff_id();
  const pid_t child = process.child_.has_value() ? process.child_->pid : 0;
  std::lock_guard<std::mutex> lock(process.mu_);
  for (const std::shared_ptr<AbortCall>& call : aborts_) {
    const bool carried = call->handoff != 0 || call->child != 0;
    if (call->result.has_value() || !carried) continue;
    if ((call->handoff == 0 || call->handoff != handoff) &&
        (call->child == 0 || call->child != child)) {
      Finish(*call, absl::OkStatus());
    }
  }
  ForgetAborts();
}

void ProcessControl::End() {
  ReportAudits();
  std::lock_guard<std::mutex> lock(process_->mu_);
  ended_ = true;
  for (const std::shared_ptr<AbortCall>& call : aborts_) {
    if (!call->result.has_value()) {
      Finish(*call, absl::FailedPreconditionError("no handoff is under way"));
    }
  }
}

}  // namespace handoff
