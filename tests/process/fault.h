#ifndef TESTS_PROCESS_FAULT_H_
#define TESTS_PROCESS_FAULT_H_

#include <mutex>
#include <set>
#include <string>

#include "absl/strings/string_view.h"
#include "handoff/fault_seam.h"

namespace handoff::toy {

// Makes the process that it runs in fail, once, at the first time that it
// reaches a step of a handoff.
//
//   kill         SIGKILL
//   stop         SIGSTOP; somebody else has to continue it
//   close        shuts the connection with the peer down
//   delay        does not come back for 50 ms
//   descriptors  can open no more descriptors
//   memory       can map no more memory: large allocations fail, which ends a
//                C++ program, as does a thread that cannot be made
//   files        can make no more files, so no memfd either: what is left of a
//                memory limit of a cgroup in a process that lives on
//
// The last three last until somebody lifts the limit with prlimit(2).
// On standard output: "fault STEP", just after a limit and just before
// everything else; and with `record` "step STEP" for each step when it is
// reached for the first time.
class Fault : public FaultSeam {
 public:
  // "STEP:FAULT"; empty: none.
  Fault(absl::string_view fault, bool record);

  void Reached(absl::string_view step, int channel) override;

 private:
  void Strike(int channel);

  std::string step_;
  std::string fault_;
  const bool record_;
  std::mutex mu_;
  std::set<std::string, std::less<>> reached_;
  int last_channel_ = -1;
};

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_FAULT_H_
