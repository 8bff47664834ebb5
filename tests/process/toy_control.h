#ifndef TESTS_PROCESS_TOY_CONTROL_H_
#define TESTS_PROCESS_TOY_CONTROL_H_

#include <string>
#include <thread>

#include "handoff/control.h"
#include "handoff/fd/unique_fd.h"

namespace handoff::toy {

// Has tests ask a toy service's Control: a Unix socket, one request on each
// connection, one after the other.
//
//   status        a v1::Status
//   ledger        a v1::Ledger
//   inventory     a v1::QueryReply
//   events N      a v1::EventHistory, of those after number N
//   audit TEXT   audits N   abort MS REASON   start PATH   lock MS REASON
//   unlock
//                 an absl::Status, as text
class ToyControl {
 public:
  ToyControl(Control* control, const std::string& path);
  ~ToyControl();

 private:
  void Serve();

  Control* const control_;
  UniqueFd listener_;
  std::thread thread_;
};

// Where a service of this generation is asked.
std::string ControlPath(const std::string& setting, uint64_t generation);

// The answer; empty where there is none.
std::string AskControl(const std::string& path, const std::string& request);

// The answer as a message; as it is by default where it is none.
template <typename Message>
Message AskFor(const std::string& path, const std::string& request) {
  Message message;
  (void)message.ParseFromString(AskControl(path, request));
  return message;
}

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_TOY_CONTROL_H_
