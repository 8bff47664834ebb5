#ifndef TESTS_BENCHMARK_WITHOUT_HANDOFF_PLAIN_SESSION_H_
#define TESTS_BENCHMARK_WITHOUT_HANDOFF_PLAIN_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "handoff/session.h"

namespace handoff {

// In place of the library's: who makes sessions, and does not know them
// afterwards. It has that name because Session lets nobody else make one. Both
// define Session's calls, so a program that has both does not link.
//
// What it makes is a Session of which only the id is used, and beside it what a
// service would have in its place: its descriptors. For one loop's thread, as
// the ids are counted without a lock.
class Roster {
 public:
  // Ids are unique over groups, and begin as those of a first generation.
  explicit Roster(size_t group)
      : next_id_((uint64_t{1} << 40) + (uint64_t{group} << 32) + 1) {}

  std::shared_ptr<Session> Open(std::vector<NamedFd> descriptors);

  // How a session's calls arrive.
  static int Find(const Session& session, absl::string_view name);
  static absl::Status Add(Session& session, absl::string_view name,
                          UniqueFd fd);
  static absl::Status Close(Session& session, absl::string_view name);
  static void End(Session& session, bool reset);

 private:
  struct Owned;

  uint64_t next_id_;
};

}  // namespace handoff

#endif  // TESTS_BENCHMARK_WITHOUT_HANDOFF_PLAIN_SESSION_H_
