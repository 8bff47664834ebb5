#ifndef HANDOFF_HANDOFF_H_
#define HANDOFF_HANDOFF_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/any.pb.h"
#include "handoff/control.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/group.h"
#include "handoff/options.h"
#include "handoff/session.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Why Wait() returned.
enum class Ended {
  kHandedOff,  // a successor serves, the watch and the drain are over: exit
  kStopped,    // Stop() was called: drain and exit
};

// The life of one process of a service. First start and take-over are the same
// code:
//
//   auto h = Handoff::Start(options);       // takes over if somebody serves
//   int http = h->Listen("http", "tcp:0.0.0.0:8080");  // inherited, or bound
//   GroupHandle* g = h->Register(&my_group);
//   h->TakeSessions("chat", &my_receiver);  // none on a fresh start
//   h->Ready();   // acknowledges; returns once committed. Now serve: from here
//                 // on this process is the predecessor of the next
//   switch (h->Wait()) ...
//
// What happens in Ready(): the predecessor is told that everything is decoded
// and restored; it sends what has changed meanwhile, quiesces, freezes its
// groups, and sends the rest; the changes go through the receivers; then the
// word is swapped and this process owns every session. Where it fails, nothing
// has moved, the predecessor goes on, and this process should exit.
//
// Thread-safety: Start() to Ready() from one thread; then Wait(), Stop() and
// StartSuccessor() from any. Where there is a predecessor, Start() leaves a
// thread behind that receives until TakeSessions() or Ready() has returned; it
// blocks all signals, and a fork() meanwhile would lose it. Ownership: the
// Handoff owns every descriptor that it inherits or is given, and closes them
// on destruction; so it must outlive the service's use of them. Groups,
// receivers and the observer are borrowed and outlive it; before it is
// destroyed every group's loop has ended.
class Handoff {
 public:
  // Meets the predecessor at options.path (or on the socket that the parent
  // left to us in HANDOFF_SOCKET_FD) and receives everything that has a name;
  // sessions come behind that, on a thread of the library's. Where nobody
  // listens, starts fresh (in a rehearsal: NOT_FOUND).
  //
  // INVALID_ARGUMENT     the options: path, names, ranges; or what the
  //                      predecessor sends makes no sense
  // PERMISSION_DENIED, UNAUTHENTICATED  the predecessor is nobody we trust, or
  //                      does not trust us
  // UNAVAILABLE          refused: it is busy with another handoff, or stopping
  // FAILED_PRECONDITION  refused: no common version of the protocol or a type
  // RESOURCE_EXHAUSTED   refused: our limit on descriptors is too low
  // DEADLINE_EXCEEDED    it does not answer
  // ABORTED              it aborted, or died
  // DATA_LOSS            descriptors were lost on the way (MSG_CTRUNC)
  static absl::StatusOr<std::unique_ptr<Handoff>> Start(Options options);

  // Without Stop(), a handoff that is under way is aborted.
  virtual ~Handoff() = default;

  // Whether a predecessor was found, or what one that died had stored.
  virtual bool took_over() const = 0;
  // 1 on a fresh start, then one more for each handoff, and for each crash after
  // which there was something in the store.
  virtual uint64_t generation() const = 0;

  // A listening socket by name: inherited where the predecessor had one of this
  // name (whatever its address), else given (Options::given), else bound to
  // `address`: "tcp:HOST:PORT", "tcp:[v6]:PORT", "unix:/path". Non-blocking;
  // borrowed. A name may hold several listeners (an address of each family, one
  // for each worker): call once for each, in the same order in every generation.
  // One that is left over where others of its name are taken is closed, which
  // resets what waits in its queue: ListenSharded() takes them all. Codes of
  // BindListener(); ALREADY_EXISTS where a descriptor that is no listener has
  // the name; INVALID_ARGUMENT where one that was given is none.
  virtual absl::StatusOr<int> Listen(absl::string_view name,
                                     absl::string_view address) = 0;

  // For each worker the listeners to accept from: one of its own at each
  // address, and the kernel shares the connections out (SO_REUSEPORT,
  // socket(7)). All of the name, however many they were for, are inherited or
  // taken as given, so that no queue is lost. Where they are more than the
  // workers, some have several; where they are fewer, what is missing is bound
  // beside them, but listens only from the commit on (on a first start from
  // Ready() on, where they were given): an abort resets nobody. Until then
  // epoll reports EPOLLHUP for it: register it when Ready() has returned, or
  // with a loop that does not run yet. Non-blocking; borrowed.
  //
  // Where nothing can be bound beside (a Unix socket; one that was bound without
  // SO_REUSEPORT, or by another user), each worker has all of them, and is told
  // nothing; an event (kNote) says why. So it is where listen(2) fails after the
  // commit, but the worker's number may then report nothing.
  //
  // Where there is none yet, `workers` are bound to `address`, as above (port 0:
  // one port for all). With one worker this is Listen(), but for later
  // generations' sake with SO_REUSEPORT. One call for a name. Codes of Listen();
  // ALREADY_EXISTS also where the name was asked for already; INVALID_ARGUMENT
  // also where there are fewer workers than 1 or more than
  // Limits::named_descriptors.
  using Shards = std::vector<std::vector<int>>;
  virtual absl::StatusOr<Shards> ListenSharded(absl::string_view name,
                                               absl::string_view address,
                                               int workers) = 0;

  // Any other descriptor by name: inherited, given, or made by `make`. Borrowed.
  // What works after a handoff depends on its kind: README.md has a table.
  // INVALID_ARGUMENT where it cannot be passed (an io_uring).
  virtual absl::StatusOr<int> Descriptor(
      absl::string_view name,
      absl::FunctionRef<absl::StatusOr<UniqueFd>()> make) = 0;

  // State that belongs to no session. `restore` is called at once with what the
  // predecessor had, if it had any, and again within Ready() where that has
  // changed. From Ready() on `save` is called in each handoff, on the library's
  // thread: while the groups run (so it locks what it reads), and again when
  // all of them are frozen; what it returns then is what moves. With a store it
  // is called in each interval, too. `name` is one
  // of Options::state_types; `version` is the negotiated one.
  using SaveBlob = std::function<absl::StatusOr<google::protobuf::Any>(
      uint32_t version)>;
  using RestoreBlob = std::function<absl::Status(
      const google::protobuf::Any& value, uint32_t version)>;
  virtual absl::Status AddBlob(absl::string_view name, SaveBlob save,
                               RestoreBlob restore) = 0;

  // One for each event loop. Before TakeSessions().
  virtual GroupHandle* Register(Group* group) = 0;

  // Restores every session of the type, as they arrive: the predecessor sends
  // them meanwhile. OK also where some were refused by the receiver. Sessions
  // of a type that nobody takes stay with the predecessor. An error of the
  // handoff (codes as Start()) ends it, as one in Start() does; what had been
  // restored was dropped.
  virtual absl::Status TakeSessions(absl::string_view type,
                                    SessionReceiver* receiver) = 0;

  // Acknowledges, and returns OK once this process owns everything, or after an
  // error (codes as Start()) with the predecessor as it was: then this process
  // must serve nobody. On a fresh start returns at once. Starts the library's
  // thread, which answers tools and the next successor.
  //
  // In a rehearsal nothing has moved and nobody is to be served, whatever it
  // returns: CANCELLED where everything would move, FAILED_PRECONDITION where
  // something would not (GetLedger() has all of it), else the codes of Start().
  virtual absl::Status Ready() = 0;

  // Blocks until this process has to end. An error means that the library could
  // not go on; the service is still whole.
  virtual absl::StatusOr<Ended> Wait() = 0;

  // Retires a watching predecessor, aborts a handoff that is under way (unless
  // it is committed), takes no other one, and wakes Wait().
  virtual void Stop() = 0;

  // Executes Options::executable and hands over to it. Returns when the child
  // runs; what becomes of it is told to the observer. FAILED_PRECONDITION where
  // a handoff is under way, or this process has handed off or is stopping;
  // codes of SpawnSuccessor().
  virtual absl::Status StartSuccessor() = 0;

  // What became of everything in the last handoffs, oldest first.
  virtual v1::Ledger GetLedger() const = 0;

  // For an admin endpoint. Borrowed; valid as long as this; its calls may be
  // made from Ready() on.
  virtual Control& control() = 0;
};

}  // namespace handoff

#endif  // HANDOFF_HANDOFF_H_
