#include "server/signals.h"

#include <pthread.h>
#include <signal.h>

#include <utility>

namespace handoff::server {
namespace {

sigset_t Set() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

void Signals::BeforeStart() {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGUSR2, SIG_IGN);
}

void Signals::BlockInAllThreads() {
  sigset_t set = Set();
  sigaddset(&set, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Signals::Signals(std::function<void(int)> on_signal)
    : thread_([this, on_signal = std::move(on_signal)] {
        const sigset_t set = Set();
        for (;;) {
          int number = 0;
          if (sigwait(&set, &number) != 0) continue;
          if (stop_.load()) return;
          on_signal(number);
        }
      }) {}

Signals::~Signals() {
  stop_.store(true);
  pthread_kill(thread_.native_handle(), SIGTERM);  // wakes sigwait()
  thread_.join();
}

}  // namespace handoff::server
