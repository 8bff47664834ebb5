#ifndef TESTS_SERVER_CHATTING_H_
#define TESTS_SERVER_CHATTING_H_

#include <sys/types.h>

#include <string>

#include "tests/server/served.h"

namespace handoff::server {

// The server, and chat_client.py: members who talk in its rooms, and check what
// they are told.
class Chatting : public Served {
 protected:
  std::string Port() const;
  // `address`: a port of this host, or the path of a Unix socket.
  void StartPython(const std::string& address, int members, int rooms);
  // What it has written.
  std::string Python() const;
  // Waits for `line`, or a failure. False where neither comes.
  bool PythonSays(const std::string& line);
  bool EveryRoomHasHeard(pid_t pid);
  // Checks that nobody has missed anything.
  void StopPython();

 private:
  pid_t python_ = 0;
};

}  // namespace handoff::server

#endif  // TESTS_SERVER_CHATTING_H_
