#include "handoff/integrations/signals/upgrade_signals.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace handoff {
namespace {

// What the handler touches. It may be running on some thread when the object
// goes.
std::atomic<uint64_t> arrived{0};  // a bit for each signal
static_assert(std::atomic<uint64_t>::is_always_lock_free,
              "a handler must take no lock");
sem_t arrival;

std::atomic<bool> installed{false};

void OnSignal(int signal) {
  const int error = errno;
  arrived.fetch_or(uint64_t{1} << (signal - 1));
  ::sem_post(&arrival);
  errno = error;
}

bool IsOurs(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == OnSignal;
}

bool IsHandled(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 ||
         (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

std::string NameOf(int signal) {
  const char* const name = ::sigabbrev_np(signal);
  return name == nullptr ? absl::StrCat("signal ", signal)
                         : absl::StrCat("SIG", name);
}

}  // namespace

UpgradeSignals::UpgradeSignals(Handoff* handoff, std::vector<int> signals)
    : handoff_(handoff), signals_(std::move(signals)) {}

absl::StatusOr<std::unique_ptr<UpgradeSignals>> UpgradeSignals::Install(
    Handoff& handoff, std::vector<int> signals) {
  if (signals.empty()) return absl::InvalidArgumentError("no signal is named");
  for (const int signal : signals) {
    // Of the others there are reasons to have several at once.
    if (signal < 1 || signal >= SIGRTMIN) {
      return absl::InvalidArgumentError(
          absl::StrCat(signal, " is no signal from 1 to ", SIGRTMIN - 1));
    }
  }
  // Twice is once: what was before it is remembered, and put back.
  std::sort(signals.begin(), signals.end());
  signals.erase(std::unique(signals.begin(), signals.end()), signals.end());
  if (installed.exchange(true)) {
    return absl::AlreadyExistsError("there is an UpgradeSignals");
  }
  [[maybe_unused]] static const int once = ::sem_init(&arrival, 0, 0);
  arrived.store(0);
  std::unique_ptr<UpgradeSignals> made(
      new UpgradeSignals(&handoff, std::move(signals)));
  absl::Status handled = made->Handle();
  if (!handled.ok()) return handled;
  return made;
}

absl::Status UpgradeSignals::Handle() {
  for (const int signal : signals_) {
    struct sigaction before = {};
    if (::sigaction(signal, nullptr, &before) == 0 && IsHandled(before)) {
      return absl::AlreadyExistsError(
          absl::StrCat("the service has a handler for ", NameOf(signal)));
    }
  }
  for (const int signal : signals_) {
    struct sigaction before = {};
    struct sigaction action = {};
    // Throws away what has come for us so far: somebody meant whoever served.
    action.sa_handler = SIG_IGN;
    if (::sigaction(signal, &action, &before) != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(NameOf(signal), " cannot be handled"));
    }
    before_.emplace_back(signal, before);
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    ::sigaction(signal, &action, nullptr);
  }
  ignored_in_children_ = std::make_unique<IgnoredInChildren>(signals_);

  sigset_t all;
  sigset_t mask;
  sigfillset(&all);
  // Inherited by the thread: none of the service's signals arrive there. It
  // unblocks ours, which have their handlers by now.
  ::pthread_sigmask(SIG_BLOCK, &all, &mask);
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    return absl::ResourceExhaustedError(
        absl::StrCat("there can be no more threads: ", error.what()));
  }
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  return absl::OkStatus();
}

UpgradeSignals::~UpgradeSignals() {
  // The thread first: with the default action a signal would end the process on
  // it, even where the service blocks it everywhere.
  if (thread_.joinable()) {
    stop_.store(true);
    ::sem_post(&arrival);
    thread_.join();
  }
  ignored_in_children_.reset();
  PutBack();
  installed.store(false);
}

void UpgradeSignals::PutBack() {
  for (const auto& [signal, before] : before_) {
    struct sigaction now = {};
    if (::sigaction(signal, nullptr, &now) == 0 && IsOurs(now)) {
      ::sigaction(signal, &before, nullptr);
    }
  }
}

void UpgradeSignals::Run() {
  sigset_t ours;
  sigemptyset(&ours);
  for (const int signal : signals_) sigaddset(&ours, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
  while (true) {
    while (::sem_wait(&arrival) != 0) {  // EINTR: our own handler
    }
    if (stop_.load()) return;
    const uint64_t came = arrived.exchange(0);
    for (const int signal : signals_) {
      if ((came >> (signal - 1) & 1) == 0) continue;
      const absl::Status started = handoff_->StartSuccessor();
      handoff_->control().Audit(
          started.ok()
              ? absl::StrCat(NameOf(signal), ": a successor is started")
              : absl::StrCat(NameOf(signal), ": no successor is started: ",
                             started.ToString()));
    }
  }
}

}  // namespace handoff
