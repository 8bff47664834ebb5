#ifndef HANDOFF_FD_FORKED_CHILD_H_
#define HANDOFF_FD_FORKED_CHILD_H_

#include <sys/types.h>

#include <functional>

#include "handoff/fd/unique_fd.h"

namespace handoff {

// For tests: another process, forked from a test that has no threads. It has
// duplicates of every descriptor, so a test that waits for end of file must
// have the child close what it does not use.
class ForkedChild {
 public:
  // Runs `body` in the child, which then exits with what it returns: a distinct
  // code for each way to fail. GoogleTest's macros do nothing useful in there.
  explicit ForkedChild(const std::function<int()>& body);
  ForkedChild(const ForkedChild&) = delete;
  ForkedChild& operator=(const ForkedChild&) = delete;
  // Kills and reaps it, unless Wait() has returned.
  ~ForkedChild();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }

  // Waits up to a minute for the child to end, and reaps it. Its exit code, 128
  // and the number of the signal that killed it, or -1 after that minute.
  int Wait();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  bool reaped_ = false;
};

// For code in a child: becomes `uid` and loses every capability with that.
// False where it could not: it takes root, outside of a user namespace that
// knows only one user, as that of a build's sandbox does (tag such a test
// no-sandbox). The child then exits with kCannotBecomeUser, and the test skips
// itself.
bool BecomeUser(uid_t uid);

// For code in a child: becomes a user that no other process is. Descriptors in
// flight are counted by user, so what else runs would count too.
bool BecomeUserOfItsOwn();

inline constexpr int kCannotBecomeUser = 77;

// For code in a child: allows it descriptors up to `more` above the lowest free
// number. Where no higher one is open, it can open `more` and no more. False
// where it could not.
bool LimitDescriptors(int more);

}  // namespace handoff

#endif  // HANDOFF_FD_FORKED_CHILD_H_
