#ifndef HANDOFF_SERVER_SIGNALS_H_
#define HANDOFF_SERVER_SIGNALS_H_

#include <atomic>
#include <functional>
#include <thread>

namespace handoff::server {

// SIGTERM and SIGINT as calls in a thread of their own. SIGUSR2 is the
// library's: see handoff/integrations/signals.
class Signals {
 public:
  // Until BlockInAllThreads(), SIGTERM and SIGINT end the process, which serves
  // nobody yet, and SIGUSR2 does nothing. SIGPIPE never does anything.
  static void BeforeStart();

  // From now on they wait for a Signals, and SIGUSR2 interrupts none of these
  // threads. Call before threads are made: they inherit it.
  static void BlockInAllThreads();

  // Calls `on_signal` for what has waited, and for what comes.
  explicit Signals(std::function<void(int)> on_signal);
  // Waits for a call that runs.
  ~Signals();

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_SIGNALS_H_
