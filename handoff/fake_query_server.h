#ifndef HANDOFF_FAKE_QUERY_SERVER_H_
#define HANDOFF_FAKE_QUERY_SERVER_H_

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "handoff/fd/temp_folder.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/transport/channel.h"
#include "proto/handoff.pb.h"

namespace handoff {

// A process that answers questions, as far as whoever asks can tell: a thread
// that speaks through real channels on a real handoff socket, in a folder of
// its own. Each connection is answered by `script`, one after the other, and
// then closed. Thread-safe once it is made.
class FakeQueryServer {
 public:
  // Called once the question has come, but before it is read. Returns before
  // long: nothing interrupts it.
  using Script = std::function<void(Channel& channel)>;

  // Ends the process where the system does not let it listen.
  explicit FakeQueryServer(Script script);
  ~FakeQueryServer();
  FakeQueryServer(const FakeQueryServer&) = delete;
  FakeQueryServer& operator=(const FakeQueryServer&) = delete;

  const std::string& path() const { return path_; }

  // Scripts. Reads a question and answers with `parts`, a frame for each, the
  // last of them marked as such.
  static Script Answer(std::vector<v1::QueryReply> parts);
  static Script Refuse(v1::Refuse::Reason reason, std::string detail);
  // Waits until the other side has given up.
  static void Hang(Channel& channel);

 private:
  void Serve();

  const Script script_;
  TempFolder folder_;
  std::string path_;
  UniqueFd listener_;
  std::thread thread_;
};

}  // namespace handoff

#endif  // HANDOFF_FAKE_QUERY_SERVER_H_
