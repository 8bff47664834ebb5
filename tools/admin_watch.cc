#include "tools/admin_watch.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "tools/admin_client.h"
#include "tools/admin_commands.h"
#include "tools/admin_format.h"

namespace handoff {
namespace {

using admin::v1::WatchEventsRequest;
using admin::v1::WatchEventsResponse;

// Between two attempts to reach the service again.
constexpr absl::Duration kPause = absl::Milliseconds(100);

// All that was said is out by then: each line is flushed.
void EndAtOnce(int) { ::_exit(kDone); }

// One stream of events after another, each where the one before has ended.
class Watching {
 public:
  explicit Watching(const CommandLine& command)
      : command_(command), after_(command.after) {}

  ExitCode Run() {
    absl::Time give_up = absl::Now();  // where nobody answers at first
    while (true) {
      const absl::Time began = absl::Now();
      bool answered = false;
      const absl::Status status = Follow(answered);
      if (printed_ != kDone || reader_left_) return printed_;
      const bool gone =
          status.ok() || status.code() == absl::StatusCode::kUnavailable;
      const absl::Time now = absl::Now();
      // A call that has lasted was one that somebody had taken.
      if (answered || now - began > command_.timeout) {
        give_up = now + command_.timeout;
      }
      if (!gone || now >= give_up) {
        return FailCall(status.ok() ? absl::UnavailableError(
                                          "the service ends the events at "
                                          "once; check what it does with "
                                          "handoff status")
                                    : status);
      }
      absl::SleepFor(kPause);
    }
  }

 private:
  // Until the service ends it, or goes away.
  absl::Status Follow(bool& answered) {
    const auto stub = ConnectToAdmin(command_.admin);
    if (!stub.ok()) return stub.status();
    if (!after_.has_value()) {
      const absl::Status now = BeginNow(**stub);
      if (!now.ok()) return now;
      answered = true;
    }
    WatchEventsRequest request;
    request.set_after(*after_);
    grpc::ClientContext context;
    const auto reader = (*stub)->WatchEvents(&context, request);
    WatchEventsResponse response;
    while (reader->Read(&response)) {
      answered = true;
      Say(response);
      if (printed_ == kDone && !reader_left_) continue;
      context.TryCancel();
      break;
    }
    return FromGrpc(reader->Finish());
  }

  // From the event on that is the last one now: "from now on" would be another
  // time at whoever is asked again, before there was any event.
  absl::Status BeginNow(AdminStub& stub) {
    grpc::ClientContext context;
    SetTimeout(context, command_.timeout);
    admin::v1::GetStatusResponse response;
    const absl::Status status =
        FromGrpc(stub.GetStatus(&context, {}, &response));
    if (status.ok()) after_ = response.last_event();
    return status;
  }

  void Say(const WatchEventsResponse& response) {
    // From here on, wherever that is.
    after_ = response.has_event() ? response.event().sequence()
                                  : response.missed().up_to();
    if (!Wanted(response)) return;
    if (command_.format == Format::kJson) {
      printed_ = PrintJson(response, &reader_left_);
    } else {
      printed_ = Print(response.has_event() ? FormatEvent(response.event())
                                            : FormatMissed(response.missed()),
                       &reader_left_);
    }
  }

  // Kinds are picked here and not by the service: where to go on is known from
  // any event.
  bool Wanted(const WatchEventsResponse& response) const {
    return command_.kinds.empty() || !response.has_event() ||
           std::find(command_.kinds.begin(), command_.kinds.end(),
                     response.event().kind()) != command_.kinds.end();
  }

  const CommandLine& command_;
  // Where to go on; unset: from now on.
  absl::optional<uint64_t> after_;
  ExitCode printed_ = kDone;
  bool reader_left_ = false;
};

}  // namespace

ExitCode Watch(const CommandLine& command) {
  ::signal(SIGINT, EndAtOnce);
  return Watching(command).Run();
}

}  // namespace handoff
