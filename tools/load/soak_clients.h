#ifndef HANDOFF_TOOLS_LOAD_SOAK_CLIENTS_H_
#define HANDOFF_TOOLS_LOAD_SOAK_CLIENTS_H_

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tools/load/event_loop.h"

namespace handoff::load {

// The clients of a run in which servers are killed: connections may then end,
// and are opened anew. Whether one was allowed to end is for the caller to say;
// a wrong byte or a long silence never is. Not thread-safe; Tick() and the loop
// drive it.
class SoakClients {
 public:
  struct Options {
    // Connections that last until they are lost: small requests, streams, slow
    // uploads and slow readers, by turns.
    size_t kept = 200;
    // Connections of one request each, opened a second.
    double short_per_second = 150;
    uint64_t seed = 0;
  };

  // A connection that could not be opened, or that the server's side ended.
  struct Loss {
    absl::Time opened;
    // The server's number for the session; 0 where it has not said it yet.
    uint64_t session = 0;
    bool refused = false;
    std::string why;
  };

  // The loop is borrowed and outlives this.
  SoakClients(const Options& options, const sockaddr_in& server,
              EventLoop* loop);
  ~SoakClients();

  // Opens what is due and looks after what stands still. To be called every
  // few milliseconds.
  void Tick();

  // Kept connections end what they do and are silent, and no others are opened;
  // and the other way round.
  void Pause() { paused_ = true; }
  void Resume();
  // After Pause(): that is so.
  bool Quiet() const;

  uint64_t requests_ok() const { return requests_ok_; }
  // Since the last call.
  std::vector<Loss> TakeLosses();
  std::vector<std::string> TakeViolations();

 private:
  class Client;

  void OnFailure(const Client& client, const std::string& why);

  const Options options_;
  const sockaddr_in server_;
  EventLoop& loop_;
  std::vector<std::unique_ptr<Client>> kept_;
  std::vector<std::unique_ptr<Client>> short_;
  uint64_t opened_ = 0;
  bool paused_ = false;
  absl::Time next_short_;
  absl::Time next_check_;
  uint64_t requests_ok_ = 0;
  std::vector<Loss> losses_;
  std::vector<std::string> violations_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_SOAK_CLIENTS_H_
