#ifndef HANDOFF_TOOLS_LOAD_STEADY_LOAD_H_
#define HANDOFF_TOOLS_LOAD_STEADY_LOAD_H_

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tools/load/event_loop.h"
#include "tools/load/steady_client.h"

namespace handoff::load {

// The four kinds of work. `host` is the request's Host.
//
// One connection, and a request every `interval`.
SteadyWork KeptWork(absl::string_view host, absl::string_view path,
                    absl::Duration interval);
// A connection for each request, which says that it is the only one.
SteadyWork ShortWork(absl::string_view host, absl::string_view path,
                     absl::Duration interval);
// A body of `bytes` bytes of the pattern, each checked. How fast it comes is up
// to the server; the next download follows the last, on a connection of its
// own.
SteadyWork DownloadWork(absl::string_view host, absl::string_view path,
                        uint64_t bytes);
// A body that the client takes `time` to send, and that comes back.
SteadyWork UploadWork(absl::string_view host, absl::string_view path,
                      size_t bytes, absl::Duration time);

// Clients of several kinds against one server. In this order: Add() for each
// kind; Open(); Begin(); Poll() for as long as it is to last; WindDown();
// End(); FormatJson(). Not thread-safe, and the loop is its own.
class SteadyLoad {
 public:
  // After WindDown(): beyond it a request is unfinished. One without progress
  // for Connection::kPatience is lost before that.
  static constexpr absl::Duration kWindDown = absl::Seconds(30);

  explicit SteadyLoad(const sockaddr_in& server);

  // The first requests of `clients` clients are spread evenly over `spread`.
  void Add(SteadyWork work, size_t clients, absl::Duration spread);

  // Opens the kept connections, `rate` a second, and returns once each has had
  // an answer. DEADLINE_EXCEEDED after `most`, and after a signal.
  absl::Status Open(double rate, absl::Duration most);
  void Begin();
  // Drives the clients for `most` at the longest.
  void Poll(absl::Duration most);
  void WindDown();
  // Drives the clients until all have their answers, or kWindDown is over.
  void End();

  // Of a kind that was added.
  const SteadyFigures& figures(absl::string_view name) const;
  // Of the kept connections, since Begin(); after End() as it was before.
  size_t survived() const;

  // After End(), for tools: one line.
  std::string FormatJson() const;

  // May be called in a signal handler: Open() and End() wait no longer.
  static void Stop();
  static bool stopped();

 private:
  // Each at an address of its own, as clients refer to both.
  struct Crowd {
    SteadyWork work;
    absl::Duration spread;
    SteadyFigures figures;
    std::vector<std::unique_ptr<SteadyClient>> clients;
  };

  const sockaddr_in server_;
  EventLoop loop_;
  std::vector<std::unique_ptr<Crowd>> crowds_;
  absl::Time begun_;
  absl::Time ended_;
  absl::Time next_check_;
  size_t survived_ = 0;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_STEADY_LOAD_H_
