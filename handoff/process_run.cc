// The library's thread: answers callers, and is the predecessor of the next.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/clock.h"
#include "handoff/protocol/frame.h"
#include "handoff/process.h"

namespace handoff {
namespace {

// Callers that have connected and not said what for. More wait in the backlog.
constexpr size_t kMaxCallers = 64;
// How long to leave the backlog alone where we cannot open descriptors.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);
// How long whoever has taken over puts off its own work until its loops run.
constexpr absl::Duration kFirstPollTime = absl::Milliseconds(20);
// How long one answer to a tool may take.
constexpr absl::Duration kAnswerTime = absl::Seconds(10);

// Whoever connects when a successor serves is its caller, also where we have not
// heard of it yet: we would tell what was.
bool LeavesCallers(const Giving* giving) {
  return giving != nullptr && giving->decided() && !giving->rolled_back();
}

}  // namespace

Process::~Process() {
  if (rehearsal_ != nullptr && !rehearsal_->ended) {
    EndRehearsal(absl::CancelledError("the service gave up before Ready()"))
        .IgnoreError();
  }
  {
    std::lock_guard<std::mutex> lock(mu_);
    quit_ = true;
  }
  wake_();
  if (thread_.joinable()) thread_.join();
  answers_.reset();  // its threads look at what follows
  // Its groups' loops have ended; what it had frozen has to be let go.
  giving_.reset();
}

absl::StatusOr<Ended> Process::Wait() {
  std::unique_lock<std::mutex> lock(mu_);
  ended_changed_.wait(lock, [this] { return ended_.has_value(); });
  return *ended_;
}

void Process::Finish(absl::StatusOr<Ended> ended) {
  finished_ = true;
  roster_.EndWaits();
  std::lock_guard<std::mutex> lock(mu_);
  if (ended_.has_value()) return;
  ended_ = std::move(ended);
  ended_changed_.notify_all();
}

void Process::Stop() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
  }
  wake_();
}

absl::Status Process::StartSuccessor() {
  return control_.Launch(options_.executable, options_.arguments).status();
}

// What comes next, here and in a predecessor that hears of the commit, is work
// for each session, and would compete for the processors with the loops that
// clients wait for. Where the predecessor keeps something, others wait for it
// to hear.
void Process::AwaitFirstPolls() {
  const absl::Time deadline = MonotonicNow() + kFirstPollTime;
  absl::Time now;
  while ((now = MonotonicNow()) < deadline) {
    {
      std::lock_guard<std::mutex> lock(mu_);
      if (quit_ || stopping_ || first_polls_.size() >= groups_.size()) break;
    }
    pollfd polled = {wake_.fd(), POLLIN, 0};
    ::poll(&polled, 1,
           static_cast<int>(absl::ToInt64Milliseconds(
               absl::Ceil(deadline - now, absl::Milliseconds(1)))));
    wake_.Clear();
  }
  wake_();  // whatever else it was for
}

void Process::Run() {
  if (taking_ != nullptr) {
    if (taking_->inventory().kept().empty() && !leaves_listeners_) {
      AwaitFirstPolls();
    }
    taking_->Step(MonotonicNow());
  }
  store_.Open();
  if (taking_ != nullptr) RecordTaking();
  store_.Step(MonotonicNow());
  const int listener = belongings_.named.front().fd->get();
  while (true) {
    absl::Time now = MonotonicNow();
    std::vector<pollfd> polled = {{wake_.fd(), POLLIN, 0}};
    const bool accepts = in_charge() && !LeavesCallers(giving_.get()) &&
                         callers_.size() < kMaxCallers && now >= accept_again_;
    polled.push_back({accepts ? listener : -1, POLLIN, 0});
    for (const Caller& caller : callers_) {
      polled.push_back({caller.channel.fd(), POLLIN, 0});
    }
    if (giving_ != nullptr && !giving_->over()) giving_->AddTo(polled);
    if (taking_ != nullptr) taking_->AddTo(polled);
    if (child_.has_value()) polled.push_back({child_->pidfd.get(), POLLIN, 0});
    const int64_t wait = absl::ToInt64Milliseconds(
        absl::Ceil(NextWake(now) - now, absl::Milliseconds(1)));
    ::poll(polled.data(), polled.size(),
           static_cast<int>(std::clamp<int64_t>(wait, 0, 3'600'000)));
    if (polled[0].revents != 0) wake_.Clear();
    now = MonotonicNow();
    control_.ReportAudits();
    bool quit;
    bool stopping;
    {
      std::lock_guard<std::mutex> lock(mu_);
      quit = quit_;
      stopping = stopping_;
    }
    if (quit) {
      // Stop() and then the end is no crash.
      if (stopping && taking_ != nullptr) taking_->Retire(now);
      in_charge() ? store_.End()
                  : BeginDraining(/*stopping=*/true, now).End();
      return control_.End();
    }
    if (polled[1].revents != 0) Accept(now);
    if (answers_ != nullptr) answers_->Sweep();
    RecordBlackouts();
    TakeChild(now);
    Hear(now);
    control_.CarryAborts(now);
    Advance(now);
    WatchChild(now);
    store_.Step(now);
    control_.EndAborts();
  }
}

absl::Time Process::NextWake(absl::Time now) const {
  absl::Time wake = child_deadline_;
  if (now < accept_again_) wake = std::min(wake, accept_again_);
  for (const Caller& caller : callers_) {
    wake = std::min(wake, caller.deadline);
  }
  if (taking_ != nullptr) wake = std::min(wake, taking_->NextWake(now));
  if (giving_ != nullptr && !giving_->over()) {
    wake = std::min(wake, giving_->NextWake(now));
  } else if (draining_ != nullptr) {
    wake = std::min(wake, draining_->NextWake());
  }
  return std::min(wake, store_.NextWake());
}

void Process::Accept(absl::Time now) {
  while (callers_.size() < kMaxCallers && !LeavesCallers(giving_.get())) {
    UniqueFd socket(::accept4(belongings_.named.front().fd->get(), nullptr,
                              nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      if (errno != EAGAIN) accept_again_ = now + kAcceptPause;
      return;
    }
    auto channel = Channel::Create(std::move(socket),
                                   {options_.trust, options_.use_scm_pidfd});
    if (channel.ok()) {
      callers_.push_back(
          {*std::move(channel), now + options_.deadlines.hello});
    }
  }
}

void Process::TakeChild(absl::Time now) {
  absl::optional<std::pair<Child, std::string>> started;
  {
    std::lock_guard<std::mutex> lock(mu_);
    started.swap(new_child_);
  }
  if (!started.has_value()) return;
  auto& [child, executable] = *started;
  report_(Event::Kind::kNote, 0,
          absl::StrCat("started ", executable, " as pid ", child.pid));
  auto channel = Channel::Create(std::move(child.socket),
                                 {options_.trust, options_.use_scm_pidfd});
  child_ = std::move(child);
  if (!channel.ok()) {
    child_deadline_ = now;
    return;
  }
  // It may have a configuration to read before it says Hello.
  callers_.push_back({*std::move(channel), now + options_.deadlines.staging});
  child_deadline_ = now + options_.deadlines.staging;
}

void Process::WatchChild(absl::Time now) {
  if (!child_.has_value()) return;
  if (now >= child_deadline_) {
    child_deadline_ = absl::InfiniteFuture();
    // The word first: the child may have swapped it, and serve already.
    if (gives_to_child()) {
      giving_->Abort("the child did not take over in time", now);
      giving_->Step(now);
    }
    if (!gives_to_child() || !giving_->committed()) {
      const absl::Status killed = KillProcess(child_->pidfd.get());
      report_(Event::Kind::kNote, 0,
              absl::StrCat("killed pid ", child_->pid,
                           ", which did not take over: ", killed.ToString()));
    }
  }
  if (!ProcessEnded(child_->pidfd.get())) return;
  // Of an orphan only whoever has adopted it hears more.
  const absl::StatusOr<std::string> how =
      options_.orphan_successor ? std::string("has ended")
                                : ReapChild(child_->pidfd.get());
  const std::string text =
      absl::StrCat("pid ", child_->pid, " ",
                   how.ok() ? *how : how.status().ToString());
  child_.reset();
  child_deadline_ = absl::InfiniteFuture();
  {
    std::lock_guard<std::mutex> lock(mu_);
    spawning_ = false;
  }
  // Whoever hears it may start the next.
  report_(Event::Kind::kChildEnded, 0, text);
}

void Process::Refuse(Channel& channel, v1::Refuse::Reason reason,
                     absl::string_view why) {
  v1::Frame frame;
  frame.mutable_refuse()->set_reason(reason);
  frame.mutable_refuse()->set_detail(Printable(why));
  std::vector<int> fds;
  // As the first frame of each side does; but nothing goes to a stranger.
  const absl::StatusOr<UniqueFd> pidfd = OwnPidfd();
  if (reason != v1::Refuse::CREDENTIALS && pidfd.ok()) {
    fds.push_back(pidfd->get());
  }
  channel.Send(frame, fds).IgnoreError();  // it learns by the close, then
  Reach(options_.fault_seam, "sent", BodyName(frame), channel.fd());
  report_(Event::Kind::kRejected, 0, why);
}

void Process::Hear(absl::Time now) {
  for (auto it = callers_.begin(); it != callers_.end();) {
    absl::StatusOr<IncomingFrame> frame = it->channel.Receive();
    if (absl::IsUnavailable(frame.status()) && now < it->deadline) {
      ++it;
      continue;
    }
    if (frame.ok()) {
      Reach(options_.fault_seam, "received", BodyName(frame->frame),
            it->channel.fd());
      Answer(std::move(it->channel), frame->frame, now);
    } else if (absl::IsPermissionDenied(frame.status()) ||
               absl::IsUnauthenticated(frame.status())) {
      Refuse(it->channel, v1::Refuse::CREDENTIALS, frame.status().message());
    } else if (!absl::IsOutOfRange(frame.status())) {
      Refuse(it->channel, v1::Refuse::MALFORMED,
             absl::IsUnavailable(frame.status()) ? "no hello in time"
                                                 : frame.status().message());
    }
    it = callers_.erase(it);
  }
}

void Process::Answer(Channel channel, const v1::Frame& frame, absl::Time now) {
  if (answers_ == nullptr) {
    return Refuse(channel, v1::Refuse::BUSY, "this process has handed off");
  }
  if (frame.has_query()) {
    // A tool's answer is timed by the clock on the wall, as the tool itself is.
    const absl::Status started = answers_->Start(
        channel, frame.query(), absl::Now() + kAnswerTime);
    if (!started.ok()) Refuse(channel, v1::Refuse::BUSY, started.message());
    return;
  }
  if (!frame.has_hello()) {
    return Refuse(channel, v1::Refuse::MALFORMED,
                  "the first frame is neither hello nor query");
  }
  std::string why;
  {
    std::lock_guard<std::mutex> lock(mu_);
    why = stopping_ ? "this process is stopping"
          : giving_ != nullptr ? "a handoff is under way or done; try again"
                               : control_.LockedText();
    busy_ |= why.empty();  // from here on nobody locks
  }
  if (!why.empty()) return Refuse(channel, v1::Refuse::BUSY, why);
  auto giving = Giving::Create(
      {&options_, &belongings_, &roster_, &groups_, &ledger_, &events_,
       &report_, highest_generation_, generation_, store_.Contents()},
      channel, frame, now);
  if (!giving.ok()) {
    return Refuse(channel, v1::Refuse::LIMITS, giving.status().message());
  }
  giving_ = *std::move(giving);
  if (!giving_->refused()) store_.Suspend();
  // Two generations back nobody may watch any more: it could take back what we
  // are about to give away.
  if (taking_ != nullptr && !giving_->refused() && !giving_->rehearsal()) {
    taking_->Retire(now);
  }
  giving_->Step(now);
}

void Process::LetGoOfThePath() {
  // The answers, which still read of it, end first.
  callers_.clear();
  answers_.reset();
  std::lock_guard<std::mutex> lock(mu_);
  belongings_.named.front().fd->reset();
}

Draining& Process::BeginDraining(bool stopping, absl::Time now) {
  LetGoOfThePath();
  if (draining_ == nullptr) {
    // After Stop() the service ends what it has by itself.
    draining_ = std::make_unique<Draining>(
        Draining::Process{&options_, &roster_, &groups_, &ledger_, &report_,
                          wake_},
        giving_->handoff_id(), /*ask_groups=*/!stopping, now);
  }
  return *draining_;
}

void Process::Advance(absl::Time now) {
  bool stopping;
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopping = stopping_;
  }
  if (stopping) {
    if (giving_ != nullptr) giving_->Abort("the process is stopping", now);
    if (taking_ != nullptr) taking_->Retire(now);
  }
  if (taking_ != nullptr) {
    taking_->Step(now);
    if (taking_->over()) taking_.reset();
  }
  if (giving_ != nullptr) {
    giving_->Step(now);
    const bool ours_again = giving_->over() && in_charge();
    const bool to_child = gives_to_child();
    if (giving_->committed() && !ours_again) {
      if (to_child) child_deadline_ = absl::InfiniteFuture();
      roster_.SetOnEnd(wake_);
      if (giving_->over() && BeginDraining(stopping, now).Step(now)) {
        Finish(Ended::kHandedOff);
      }
    } else if (ours_again) {
      roster_.SetOnEnd(nullptr);
      if (giving_->rolled_back()) ++highest_generation_;
      giving_.reset();
      if (to_child) child_deadline_ = now + options_.deadlines.released;
    }
  }
  if (stopping && (giving_ == nullptr || giving_->committed())) {
    Finish(Ended::kStopped);
  }
  auto progress = giving_ == nullptr ? absl::nullopt : giving_->Progress();
  std::lock_guard<std::mutex> lock(mu_);
  busy_ = giving_ != nullptr;
  control_.SetProgress(std::move(progress));
  state_ = stopping                 ? "stopping"
           : giving_ == nullptr     ? "serving"
           : !giving_->committed()  ? "handing off"
                                    : "watching";
}

}  // namespace handoff
