#ifndef HANDOFF_SESSION_H_
#define HANDOFF_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "google/protobuf/any.pb.h"
#include "google/protobuf/message.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

class Roster;

struct NamedFd {
  std::string name;
  UniqueFd fd;
};

// One live piece of work and its descriptors: a client's connection, a proxy's
// two. The library owns the descriptors; the service borrows them.
//
// A session belongs to one group, and all of this except the constant part is
// for that group's thread alone (before Ready() returns, for the thread that
// calls TakeSessions() and Ready()).
//
// Why a session must end through Close() or Reset(): while another process
// holds a duplicate, close(2) sends nothing. Close() shuts the connection down
// first (FIN), Reset() disconnects it (connect(AF_UNSPEC), RST), so the client
// sees the end whoever else holds a copy.
class Session {
 public:
  // Constant. The id is unique over all generations of a service.
  uint64_t id() const { return id_; }
  const std::string& type() const { return type_; }
  absl::Time opened_at() const { return opened_at_; }
  // How many handoffs it has lived through.
  uint32_t handoffs() const { return handoffs_; }

  // Borrowed; -1 where the session has no descriptor of that name. Valid until
  // Close(), Reset(), CloseDescriptor() or Release.
  int fd(absl::string_view name) const;

  // Call whenever anything that Snapshot would write has changed: after every
  // read, every write, every timer that matters. Cheap.
  void Changed();

  // Gives the session one more descriptor, or takes one away. Implies
  // Changed(). ALREADY_EXISTS, NOT_FOUND.
  absl::Status AddDescriptor(absl::string_view name, UniqueFd fd);
  absl::Status CloseDescriptor(absl::string_view name);

  // This session cannot move: in a handoff it stays with the predecessor, named
  // in the ledger with `reason`, and is drained. For good. Call before the cut.
  void Keep(absl::string_view reason);

  // Ends the session. Unregister its descriptors from the event loop first. The
  // object stays valid but has no descriptors. Calling again does nothing.
  void Close();
  void Reset();

 private:
  friend class Roster;

  struct Descriptor {
    std::string name;
    SharedFd fd;
    bool sent = false;  // in the handoff that is under way
    uint64_t cookie = 0;  // of a TCP connection, once it was asked for
  };

  Session(Roster* roster, uint64_t id, absl::string_view type)
      : roster_(roster), id_(id), type_(type) {}

  Roster* const roster_;
  const uint64_t id_;
  const std::string type_;
  absl::Time opened_at_;
  uint32_t handoffs_ = 0;

  // Written by the group's thread under the roster's lock, so that thread may
  // read it without, and others with the lock.
  std::vector<Descriptor> descriptors_;
  std::string keep_reason_;
  int group_ = -1;
  bool changed_ = false;
  bool ended_ = false;
  bool moved_ = false;  // and so ended here
};

// What Snapshot writes of one session, once for each call.
class SessionWriter {
 public:
  explicit SessionWriter(uint32_t version) : version_(version) {}

  // The version of this type's state that the successor reads.
  uint32_t version() const { return version_; }
  void State(const google::protobuf::Message& state) { state_.PackFrom(state); }
  // Bytes read from the descriptor but not yet consumed; produced for it but
  // not yet written.
  void Input(absl::string_view descriptor, absl::string_view bytes);
  void Output(absl::string_view descriptor, absl::string_view bytes);
  // version() cannot tell of this session, so the successor gets nothing of it:
  // in this handoff it stays here, as if the successor had refused it.
  void Refuse(absl::string_view reason);

 private:
  friend class Roster;
  struct Bytes {
    std::string descriptor;
    std::string input;
    std::string output;
  };
  Bytes& Find(absl::string_view descriptor);

  const uint32_t version_;
  google::protobuf::Any state_;
  std::vector<Bytes> bytes_;
  std::string refusal_;
};

// What a predecessor wrote of one session.
struct SessionSnapshot {
  struct Bytes {
    std::string descriptor;
    std::string input;
    std::string output;
  };
  uint32_t version = 0;
  google::protobuf::Any state;
  // One for each descriptor of the session.
  std::vector<Bytes> bytes;

  // Empty where there is no such descriptor.
  absl::string_view input(absl::string_view descriptor) const;
  absl::string_view output(absl::string_view descriptor) const;
};

// A service's side of taking over the sessions of one type.
//
// All calls come from the thread that calls TakeSessions() or Ready(), before
// either returns: the groups' loops need not run yet, and must not act on these
// sessions before Ready() has returned OK.
class SessionReceiver {
 public:
  virtual ~SessionReceiver() = default;

  // Build the session, give it to a group (GroupHandle::Adopt), register its
  // descriptors with that group's event loop. Called again for the same session
  // when its state has changed since: replace what was built, and register what
  // descriptors are new; `session` is the same object. Neither read from the
  // descriptors nor write to them: the predecessor still serves them.
  //
  // An error in TakeSessions() leaves that session with the predecessor, named
  // in the ledger as refused; an error in Ready() aborts the handoff.
  virtual absl::Status Restore(const std::shared_ptr<Session>& session,
                               const SessionSnapshot& snapshot) = 0;

  // The session ended at the predecessor, or stays there, or the handoff was
  // aborted: unregister its descriptors and forget it.
  virtual void Drop(Session& session) = 0;
};

}  // namespace handoff

#endif  // HANDOFF_SESSION_H_
