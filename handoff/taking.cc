#include "handoff/taking.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <climits>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/clock.h"
#include "handoff/event_log.h"
#include "handoff/fd/open_descriptors.h"
#include "handoff/protocol/frame.h"
#include "handoff/store_shelf.h"

namespace handoff {
namespace {

using State = SuccessorMachine::State;

// Descriptors left for the service itself.
constexpr uint64_t kReserve = 64;

// What a predecessor can make us grow our descriptor table to, whatever it
// announces and whatever our limit: 8 MiB.
constexpr uint64_t kMaxTable = 1 << 20;

// Frames that one Step() exchanges at most.
constexpr int kMaxTurns = 64;

// A process with threads stalls each time its descriptor table grows, which it
// does by doubling; one high number makes it as large as it will be.
void GrowDescriptorTable(int highest) {
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  UniqueFd grown(::fcntl(null.get(), F_DUPFD_CLOEXEC, highest));
}

}  // namespace

Taking::Taking(const Options& options, const Reporter& report, Wake wake,
               Channel channel)
    : options_(options),
      report_(report),
      link_(std::move(channel), options.fault_seam),
      stop_receiving_(std::move(wake)) {}

Taking::~Taking() {
  StopReceiving();
  if (machine_ == nullptr || machine_->committed()) return;
  const absl::Time now = MonotonicNow();
  machine_->Abort(v1::Abort::STOPPED,
                  "the successor ended before it was ready", now);
  link_.Flush(*machine_, now);
}

absl::StatusOr<std::unique_ptr<Taking>> Taking::Create(const Options& options,
                                                       const Reporter& report,
                                                       Channel channel) {
  auto pidfd = OwnPidfd();
  if (!pidfd.ok()) return pidfd.status();
  auto wake = Wake::Create();
  if (!wake.ok()) return wake.status();
  std::unique_ptr<Taking> taking(
      new Taking(options, report, *std::move(wake), std::move(channel)));
  SuccessorMachine::Config config;
  config.deadlines = options.deadlines;
  config.limits = options.limits;
  config.hello.set_lowest_protocol(kLowestProtocol);
  config.hello.set_highest_protocol(kHighestProtocol);
  config.hello.set_label(options.label);
  config.hello.set_rehearsal(options.rehearse);
  for (const StateType& type : options.state_types) {
    v1::StateType* reads = config.hello.add_reads();
    reads->set_name(type.name);
    reads->set_lowest(type.lowest);
    reads->set_highest(type.highest);
  }
  v1::StateType* events = config.hello.add_reads();
  events->set_name(kEventsBlob);
  events->set_lowest(1);
  events->set_highest(1);
  if (options.store != nullptr) {
    v1::StateType* store = config.hello.add_reads();
    store->set_name(kStoreBlob);
    store->set_lowest(1);
    store->set_highest(1);
  }
  const OpenDescriptors open = CountOpenDescriptors();
  config.hello.set_descriptor_headroom(
      open.limit > open.count + kReserve ? open.limit - open.count - kReserve
                                         : 0);
  config.hello_descriptors = {std::make_shared<UniqueFd>(*std::move(pidfd))};
  taking->machine_ =
      std::make_unique<SuccessorMachine>(std::move(config), MonotonicNow());
  return taking;
}

void Taking::Say(Event::Kind kind, absl::string_view text) {
  report_({kind, machine_->offer().handoff_id(), text, predecessor(),
           options_.rehearse});
}

uint32_t Taking::VersionOf(absl::string_view type) const {
  for (const v1::NegotiatedType& t : machine_->offer().writes()) {
    if (t.name() == type) return t.version();
  }
  return 0;
}

absl::Status Taking::MapWord(absl::Time now) {
  auto word = SharedWord::Map(std::move(machine_->offer_descriptors()[0]));
  machine_->offer_descriptors().clear();
  if (!word.ok()) return word.status();
  word_ = std::make_unique<SharedOutcome>(*std::move(word));
  offered_at_ = absl::Now();
  phases_.Begin("pre-copy", MonotonicNow());
  const OpenDescriptors open = CountOpenDescriptors();
  const uint64_t highest = std::min<uint64_t>(
      open.limit - 1,
      open.count + std::min(machine_->offer().descriptors_total(), kMaxTable));
  GrowDescriptorTable(static_cast<int>(std::min<uint64_t>(highest, INT_MAX)));
  machine_->SetWord(word_.get(), now);
  Say(Event::Kind::kInheriting,
      absl::StrCat("from pid ", predecessor(), ", label ",
                   Printable(offer().label()), ", ", offer().sessions(),
                   " sessions"));
  return absl::OkStatus();
}

absl::Status Taking::Carry(SuccessorMachine::Command command,
                           const std::function<absl::Status()>& apply,
                           absl::Time now) {
  using Command = SuccessorMachine::Command;
  switch (command) {
    case Command::kOffered:
      if (absl::Status s = MapWord(now); !s.ok()) {
        machine_->Abort(v1::Abort::MALFORMED, std::string(s.message()), now);
      }
      return absl::OkStatus();
    case Command::kStaged:
      staged_ = true;
      phases_.Begin("staging", MonotonicNow());
      Say(Event::Kind::kPreCopied, "this process has a copy of everything");
      return absl::OkStatus();
    case Command::kDecode:
      if (absl::Status s = apply(); !s.ok()) return s;
      Say(Event::Kind::kFinalDecoded, "about to commit");
      machine_->OnDecoded(now);
      return absl::OkStatus();
    case Command::kServe:
      serving_ = true;
      now = MonotonicNow();
      phases_.Begin("frozen", std::min(now, absl::FromUnixNanos(
                                   static_cast<int64_t>(cut_at()))));
      phases_.End(now);
      return absl::OkStatus();
    case Command::kAdopt:
      staged_ = serving_ = adopted_ = true;
      phases_.End(now);
      Say(Event::Kind::kAdopted, "the predecessor died");
      return absl::OkStatus();
    case Command::kReleased:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Taking::RunUntil(const std::function<bool()>& done,
                              const std::function<absl::Status()>& apply) {
  while (true) {
    absl::Time now = MonotonicNow();
    bool progress = true;
    while (progress && !done()) {
      progress = !over() && link_.Exchange(*machine_, now);
      // After an error the inventory is not to be looked at.
      if (passes_on_ && (!over() || machine_->committed())) PassOn();
      absl::Status status;
      if (machine_->state() == State::kReady) status = apply();
      machine_->OnTime(now);
      for (auto c = machine_->NextCommand(); status.ok() && c.has_value();
           c = machine_->NextCommand()) {
        NoteState();
        status = Carry(*c, apply, now);
        NoteState();
        progress = true;
      }
      if (!status.ok()) {
        machine_->Abort(v1::Abort::RESTORE, std::string(status.message()), now);
      }
      NoteState();
      now = MonotonicNow();
    }
    if (over()) link_.Flush(*machine_, now);
    if (done()) return absl::OkStatus();
    if (over()) {
      Say(Event::Kind::kAborted, machine_->why().message());
      return machine_->why();
    }
    std::vector<pollfd> polled = {{stop_receiving_.fd(), POLLIN, 0}};
    AddTo(polled);
    const absl::Duration wait = NextWake(now) - now;
    const int64_t milliseconds =
        absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1)));
    ::poll(polled.data(), polled.size(),
           static_cast<int>(std::clamp<int64_t>(milliseconds, 0, 60'000)));
  }
}

void Taking::NoteState() {
  if (machine_->state() == std::exchange(seen_, machine_->state())) return;
  Reach(options_.fault_seam, "state", SuccessorMachine::Name(seen_),
        link_.channel().fd());
}

absl::Status Taking::Stage() {
  const auto nothing = [] { return absl::OkStatus(); };
  absl::Status status = RunUntil(
      [this] { return staged_ || (machine_->named_complete() && !over()); },
      nothing);
  if (!status.ok()) return status;
  passes_on_ = true;
  // That was all, or it makes no sense.
  if (staged_ || inventory().named().empty()) {
    PassOn();
    received_ = absl::OkStatus();
    passes_on_ = false;
    return absl::OkStatus();
  }
  const auto receive = [this, nothing] {
    absl::Status received = RunUntil(
        [this] {
          std::lock_guard<std::mutex> lock(mu_);
          return staged_ || stopped_;
        },
        nothing);
    if (received.ok()) {
      PassOn();
    } else {
      // The service may have much to do before it hears of this.
      link_.End();
    }
    std::lock_guard<std::mutex> lock(mu_);
    received_ = std::move(received);
    passed_on_.notify_all();
  };
  // The service may not have blocked the signals yet that it handles elsewhere.
  sigset_t all;
  sigset_t mask;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &mask);
  bool apart = true;
  try {
    receiver_ = std::thread(receive);
  } catch (const std::system_error&) {
    apart = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  if (!apart) receive();  // one thread less: it only takes longer
  return absl::OkStatus();
}

void Taking::PassOn() {
  StagedInventory::SessionChanges changes = inventory().TakeSessionChanges();
  if (changes.arrived.empty() && changes.gone.empty()) return;
  std::lock_guard<std::mutex> lock(mu_);
  arrived_.arrived.insert(arrived_.arrived.end(),
                          std::make_move_iterator(changes.arrived.begin()),
                          std::make_move_iterator(changes.arrived.end()));
  arrived_.gone.insert(arrived_.gone.end(), changes.gone.begin(),
                       changes.gone.end());
  passed_on_.notify_all();
}

absl::StatusOr<StagedInventory::SessionChanges> Taking::NextStaged() {
  std::unique_lock<std::mutex> lock(mu_);
  passed_on_.wait(lock, [this] {
    return received_.has_value() || !arrived_.arrived.empty() ||
           !arrived_.gone.empty();
  });
  StagedInventory::SessionChanges changes = std::exchange(arrived_, {});
  const bool failed = received_.has_value() && !received_->ok();
  const bool last = changes.arrived.empty() && changes.gone.empty();
  lock.unlock();
  if (!last && !failed) return changes;
  Join();
  if (failed) return *received_;
  return changes;
}

void Taking::StopReceiving() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
  }
  stop_receiving_();
  Join();
}

void Taking::Join() {
  if (receiver_.joinable()) receiver_.join();
  passes_on_ = false;
}

void Taking::CatchUp(absl::Time now) {
  for (int turn = 0; turn < kMaxTurns && !over(); ++turn) {
    if (!link_.Exchange(*machine_, now)) break;
  }
}

absl::Status Taking::Rehearse(const std::string& how) {
  CatchUp(MonotonicNow());
  machine_->OnTime(MonotonicNow());  // restoring has its deadline here too
  phases_.End(MonotonicNow());
  // Closed, and not known to be dead: that shows soon.
  const absl::Status status =
      RunUntil([this] { return !over() && !link_.closed(); },
               [] { return absl::OkStatus(); });
  if (!status.ok()) return status;
  machine_->Abort(v1::Abort::REHEARSAL, how, MonotonicNow());
  link_.Flush(*machine_, MonotonicNow());
  return absl::OkStatus();
}

absl::Status Taking::Commit(v1::Ready ready,
                            const std::function<absl::Status()>& apply) {
  // First what has come while the service restored: the predecessor may have
  // died, and then this process adopts, however long it took.
  const absl::Time now = MonotonicNow();
  CatchUp(now);
  for (auto c = machine_->NextCommand(); c.has_value();
       c = machine_->NextCommand()) {
    if (absl::Status s = Carry(*c, apply, now); !s.ok()) return s;
  }
  if (!serving_) {
    machine_->Ready(std::move(ready), MonotonicNow());
    if (machine_->state() == State::kReady) {
      phases_.Begin("changes", MonotonicNow());
      // Without receiving: what comes now is acknowledged once it is restored.
      link_.Flush(*machine_, MonotonicNow());
      Say(Event::Kind::kReadySent, "this process could serve");
    }
  }
  return RunUntil([this] { return serving_; }, apply);
}

void Taking::Step(absl::Time now) {
  // Bounded: the predecessor has little to say by now, whatever it sends.
  unfinished_ = true;
  for (int turn = 0; unfinished_ && turn < kMaxTurns; ++turn) {
    unfinished_ = link_.Exchange(*machine_, now);
    machine_->OnTime(now);
    while (machine_->NextCommand().has_value()) {
    }
    NoteState();
  }
  if (over()) link_.Flush(*machine_, now);
}

absl::Time Taking::NextWake(absl::Time now) const {
  if (unfinished_) return now;
  return std::min(machine_->NextDeadline(), now + link_.retry_after());
}

void Taking::Retire(absl::Time now) {
  machine_->Retire(now);
  link_.Flush(*machine_, now);
}

}  // namespace handoff
