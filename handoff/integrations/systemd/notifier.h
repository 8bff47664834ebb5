#ifndef HANDOFF_INTEGRATIONS_SYSTEMD_NOTIFIER_H_
#define HANDOFF_INTEGRATIONS_SYSTEMD_NOTIFIER_H_

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/handoff.h"
#include "handoff/integrations/systemd/notify_socket.h"

namespace handoff {

// Tells systemd how a service is, through its handoffs:
//
//   auto systemd = SystemdNotifier::Install(options);
//   if (!systemd.ok()) ...
//   auto handoff = Handoff::Start(options);
//   ... (*handoff)->Ready() ...
//   (*systemd)->Serve(**handoff);
//   auto ended = (*systemd)->Wait();  // in place of (*handoff)->Wait()
//   ... drain ...
//   (*systemd)->End();                // then destroy the Handoff
//
// Where NOTIFY_SOCKET is not set it only passes events on. README.md has what
// is said when; in short: READY=1 and STATUS= when this process serves;
// RELOADING=1 from the beginning of a handoff until it has ended and the watch
// is over, then MAINPID= of a successor in the same unit, or STOPPING=1 where
// it is of another; WATCHDOG=1 as often as WATCHDOG_USEC wants it, as long as
// every group's loop answers.
//
// What a thread of this object has to tell waits for a manager that does not
// read, up to 5 s for each message; MAINPID= for as long as it takes, or until
// this process is stopped. Keepalives do not wait, nor does any event.
//
// Thread-safety: Install() to Serve() and Wait() to End() from one thread.
class SystemdNotifier : public Observer {
 public:
  // Takes the place of options.observer, to which it passes events on, sets
  // options.orphan_successor, and reads options.deadlines. Call once they are
  // set. The result outlives the Handoff.
  //
  // INVALID_ARGUMENT  WATCHDOG_USEC or WATCHDOG_PID is no number; codes of
  //                   NotifySocket::FromEnvironment()
  static absl::StatusOr<std::unique_ptr<SystemdNotifier>> Install(
      Options& options);
  ~SystemdNotifier() override;
  SystemdNotifier(const SystemdNotifier&) = delete;
  SystemdNotifier& operator=(const SystemdNotifier&) = delete;

  void OnEvent(const Event& event) override;

  // This process serves: after Handoff::Ready() has returned OK. Borrows
  // `handoff` until End().
  void Serve(Handoff& handoff);

  // As Handoff::Wait(). When it returns, systemd has been told of the new main
  // process, where there is one, or this process was stopped: without that, the
  // end of this one would end the other. Everything else that it had to know it
  // has worked through, or has not read for 5 s.
  absl::StatusOr<Ended> Wait();

  // Before the Handoff is destroyed, as the last thing before the exit. Where
  // this process was stopped while it watched a successor in its unit, waits
  // for that to end, up to the drain deadline: systemd sends whoever is left a
  // second SIGTERM when the main process has gone.
  //
  // An error: something that systemd had to know could not be told; the first
  // one.
  absl::Status End();

 private:
  enum class Phase { kServing, kHandingOff, kWatching, kHandedOver, kStopping };
  // What is to be told, as of the last event.
  struct State {
    Phase phase = Phase::kServing;
    pid_t peer = 0;  // the successor's
    // From quiesce to the outcome, where loops need not answer: the handoff has
    // deadlines of its own.
    bool frozen = false;
    std::string text;
  };

  SystemdNotifier(std::unique_ptr<NotifySocket> socket, absl::Duration watchdog,
                  bool watchdog_is_ours, const Options& options);

  // With the lock.
  void Change(Phase phase, std::string text);
  bool Heed(const Event& event);

  // The thread.
  void Run();
  void Tell(const State& state);
  absl::Status TellReloading(absl::Duration patience);
  void TellServing(const std::string& text);
  void HandOver(const State& state);
  bool IsStopping() const;
  bool Keep(absl::Time now, std::unique_lock<std::mutex>& lock);
  std::string Serving(const std::string& text) const;
  void Send(std::vector<NotifySocket::Assignment> message);
  void Note(const absl::Status& status);

  const std::unique_ptr<NotifySocket> socket_;  // null: nobody listens
  const absl::Duration watchdog_;               // zero: none
  const bool watchdog_is_ours_;                 // by WATCHDOG_PID
  const absl::Duration watch_;
  const absl::Duration drain_;
  Observer* const next_;  // may be null

  Handoff* handoff_ = nullptr;
  bool watched_ = false;     // WATCHDOG=1 is expected
  bool took_place_ = false;  // of a main process of this unit, which tells
  std::thread thread_;

  std::mutex mu_;  // guards what follows
  std::condition_variable changed_;
  State state_;
  uint64_t states_ = 0;      // how often it has changed
  uint64_t told_ = 0;        // the last one that was told
  uint64_t handoff_id_ = 0;  // the handoff that is followed
  pid_t predecessor_ = 0;
  // The thread tells a state, which may be out of date. While it does not, what
  // follows under "the thread's" may be used with the lock too.
  bool telling_ = false;
  bool probing_ = false;  // some loop has not answered yet
  bool alive_ = false;    // all have, and it is not told yet
  bool quit_ = false;

  // The thread's.
  bool reloading_ = false;
  bool silent_ = false;  // another process is the main one now
  bool stopped_watching_ = false;
  pid_t outlast_ = 0;
  absl::Time next_beat_ = absl::InfiniteFuture();
  absl::Time next_status_ = absl::InfiniteFuture();
  absl::Status trouble_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_SYSTEMD_NOTIFIER_H_
