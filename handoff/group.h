#ifndef HANDOFF_GROUP_H_
#define HANDOFF_GROUP_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "handoff/session.h"

namespace handoff {

// The sessions of one event-loop thread: what a service implements.
//
// In a handoff the library calls, all on the loop's thread by way of Post():
//
//   Snapshot   for each session, while it is live; then again for those that
//              have changed
//   Quiesce    stop taking input
//   Snapshot   the last time, for those that have changed since; right after it
//              the library blocks the thread: the group is frozen
//   Release    the handoff committed: the sessions are the successor's
//   or Thaw    it aborted: go on
//   TakeBack   the successor crashed, and had not touched the session yet
//
// With Options::store live Snapshots are taken also while no handoff is under
// way.
//
// A loop must own no bytes that it has not told the session of: use readiness
// waits with non-blocking reads and writes. An operation that reads when it is
// initiated (boost::asio's async_read_some) or writes what nobody was told
// (async_write) makes bytes vanish.
class Group {
 public:
  virtual ~Group() = default;

  // Runs `fn` on the loop's thread, soon, after what was posted before it, with
  // no lock held. Any thread calls this. Must work until the Handoff is gone,
  // also before the loop runs (then `fn` waits).
  virtual void Post(std::function<void()> fn) = 0;

  // Writes what a successor needs to go on with `session`; reads from and
  // writes to no connection. An error aborts the handoff (a store keeps what it
  // had of the session), SessionWriter::Refuse() leaves this one session
  // behind. Live calls should be quick: the loop serves nobody meanwhile.
  virtual absl::Status Snapshot(Session& session, SessionWriter& writer) = 0;

  // Stop taking input: accept nothing, read nothing, let no timer act. Work that
  // is already posted still runs, and may write and post. Work between groups
  // must go through GroupHandle::Post, or the library cannot see it end.
  virtual void Quiesce() = 0;

  // Take input again. Called after an abort where Quiesce was called, and after
  // Release where the successor crashed within the watch (then only listeners
  // and kept sessions are left, and what TakeBack brings).
  virtual void Thaw() = 0;

  // `moved` are the successor's now. Unregister their descriptors from the loop
  // and forget them; do not close, write or shut down anything: the library
  // closes the copies when this returns. Go on serving kept sessions. Accept
  // nothing any more, but on listeners named in `unclaimed`: the successor has
  // no use for them, so go on until Wait() returns.
  virtual void Release(absl::Span<const std::shared_ptr<Session>> moved,
                       absl::Span<const std::string> unclaimed) = 0;

  // The watch is over and this process will not serve again: end what was kept,
  // gracefully, as far as it does not end by itself. Wait() returns when every
  // session has ended, at the latest deadlines.drain after this. Called once;
  // not after Stop(), where the service ends what it has by itself.
  virtual void Drain() {}

  // The next two come by Control, never between Quiesce and Thaw or Release:
  // they wait until then.

  // An operator wants this session to end: finish what is under way, then
  // Close() it; with `at_once`, end it now. A group that does nothing here keeps
  // its sessions.
  virtual void DrainSession(Session& /*session*/, bool /*at_once*/) {}

  // Accept no connections, or accept them again; this is beside Quiesce and
  // Thaw: who thaws while told not to accept does not. Returns false where the
  // group cannot tell, or accepts nothing anyway.
  virtual bool SetAccepting(bool /*accepting*/) { return false; }

  // Whether to give sessions back to this group where the successor crashes
  // within the watch. The library then keeps, until the watch is over, its copy
  // of each descriptor that moved and of what Snapshot wrote last: from the
  // first round on as many descriptors as now, and memory for the state.
  // Constant.
  virtual bool TakesBack() const { return false; }

  // After Thaw, for each session of this group that moved and that, as the
  // kernel's counters prove, nobody has read from or written to since: build it
  // and serve it, as SessionReceiver::Restore does in a successor. `session` is
  // a new object with the old id, and one of this group already. Where it cannot
  // be built, Reset() it.
  virtual void TakeBack(const std::shared_ptr<Session>& session,
                        const SessionSnapshot& /*snapshot*/) {
    session->Reset();
  }
};

// The library's side of a group. Owned by the Handoff, valid as long as it.
class GroupHandle {
 public:
  virtual ~GroupHandle() = default;

  // A new session with its descriptors, on the loop's thread. `type` is one of
  // Options::state_types.
  virtual std::shared_ptr<Session> Open(absl::string_view type,
                                        std::vector<NamedFd> descriptors) = 0;

  // Makes a session that SessionReceiver::Restore was given one of this group.
  virtual void Adopt(Session& session) = 0;

  // Runs `fn` on the group's thread: how groups and other threads give it work.
  // Counted: a cut waits until all of it has run. Thread-safe.
  virtual void Post(std::function<void()> fn) = 0;
};

}  // namespace handoff

#endif  // HANDOFF_GROUP_H_
