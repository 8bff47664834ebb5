#ifndef TESTS_SERVER_SERVED_H_
#define TESTS_SERVER_SERVED_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tools/load/server_processes.h"

namespace handoff::server {

// How long anything in these tests may take before it counts as hung.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

// Calls `done` until it is true, or patience ends: then false.
bool Eventually(const std::function<bool()>& done);

// The real server, in processes of its own and a folder of its own, which is
// removed at the end with every process that is left.
class Served : public testing::Test {
 protected:
  Served();
  ~Served() override;

  // Starts one more process with the flags that all have, and `more`. Waits
  // until it serves: if another one served, it has taken over then.
  void Start(const std::vector<std::string>& more = {});
  // The same by SIGUSR2 to the process that serves.
  void Upgrade();
  // The same by what `begin` does.
  void UpgradeBy(const std::function<void()>& begin);
  // The second half of it: waits until the process that another one has started
  // serves.
  void AwaitSuccessor();
  // Replaces the binary by a copy of itself, by rename as installers do.
  void ReplaceBinary();
  // Waits for the process to end; its exit code, or -signal.
  int ExitCode(pid_t pid);
  // Checks that every process that was replaced has exited with 0.
  void TearDown() override;
  // What the servers have logged.
  std::string Log() const;
  // Executes argv and returns what it prints; fails the test if it fails.
  std::string Run(const std::vector<std::string>& argv);
  // Executes argv in the background.
  pid_t Launch(const std::vector<std::string>& argv);

  std::string Url(const std::string& path) const;
  std::string File(const std::string& name) const {
    return folder_ + "/" + name;
  }
  pid_t serving() const { return line_.pid; }
  const load::ReadyLine& line() const { return line_; }

 private:
  void WaitReady(const char* what);

  std::string folder_;
  load::ServerProcesses processes_;
  load::ReadyLine line_;
  std::vector<pid_t> replaced_;
};

// A connection to the server, blocking, with the test's patience.
class Client {
 public:
  explicit Client(const load::ReadyLine& server);
  Client(Client&& other) noexcept;
  ~Client();

  void Send(const std::string& bytes);
  // Waits until the server's host has everything that was sent.
  void AwaitSent();
  // Sends FIN: the client has said everything.
  void HalfClose();
  // Exactly `size` bytes, or what came before the end.
  std::string Read(size_t size);
  // One response: its status line, header and body by Content-Length.
  struct Response {
    int status = 0;
    std::string header;
    std::string body;
  };
  Response ReadResponse();

 private:
  int fd_;
  std::string buffer_;
};

// What GET /stream sends.
std::string StreamBytes(uint64_t count);

}  // namespace handoff::server

#endif  // TESTS_SERVER_SERVED_H_
