#include "tests/process/toy_control.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

namespace handoff::toy {
namespace {

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) ::abort();
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::string ReadToEnd(int fd) {
  std::string text;
  char bytes[4096];
  for (ssize_t n; (n = ::read(fd, bytes, sizeof(bytes))) > 0;) {
    text.append(bytes, static_cast<size_t>(n));
  }
  return text;
}

void WriteAll(int fd, const std::string& text) {
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t n =
        ::send(fd, text.data() + written, text.size() - written, MSG_NOSIGNAL);
    if (n <= 0) return;
    written += static_cast<size_t>(n);
  }
}

// "12 the rest": in milliseconds from now, and what follows.
std::pair<absl::Time, std::string> TimeAndText(const std::string& rest) {
  const std::pair<std::string, std::string> words =
      absl::StrSplit(rest, absl::MaxSplits(' ', 1));
  int64_t milliseconds = 0;
  if (!absl::SimpleAtoi(words.first, &milliseconds)) ::abort();
  return {absl::Now() + absl::Milliseconds(milliseconds), words.second};
}

std::string Answer(Control& control, const std::string& request) {
  const std::pair<std::string, std::string> words =
      absl::StrSplit(request, absl::MaxSplits(' ', 1));
  const auto& [what, rest] = words;
  if (what == "status") return control.GetStatus().SerializeAsString();
  if (what == "ledger") return control.GetLedger().SerializeAsString();
  if (what == "inventory") {
    v1::QueryReply reply;
    for (const auto& item : control.GetInventory()) *reply.add_items() = item;
    return reply.SerializeAsString();
  }
  if (what == "events") {
    uint64_t after = 0;
    (void)absl::SimpleAtoi(rest, &after);
    v1::EventHistory history;
    for (const auto& event :
         control.events().Read(after, EventLog::kMaxEvents).events) {
      *history.add_events() = event;
    }
    return history.SerializeAsString();
  }
  absl::Status status;
  if (what == "audit") {
    control.Audit(rest);
  } else if (what == "audits") {
    int times = 0;
    (void)absl::SimpleAtoi(rest, &times);
    for (int i = 0; i < times; ++i) control.Audit("again");
  } else if (what == "abort") {
    const auto [deadline, reason] = TimeAndText(rest);
    status = control.Abort(reason, deadline);
  } else if (what == "start") {
    status = control.StartSuccessor(rest).status();
  } else if (what == "lock") {
    const auto [expiry, reason] = TimeAndText(rest);
    status = control.Lock(reason, expiry);
  } else if (what == "unlock") {
    status = control.Unlock();
  } else {
    ::abort();
  }
  return status.ToString();
}

}  // namespace

std::string ControlPath(const std::string& setting, uint64_t generation) {
  return absl::StrCat(setting, ".", generation);
}

ToyControl::ToyControl(Control* control, const std::string& path)
    : control_(control),
      listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const sockaddr_un address = AddressOf(path);
  ::unlink(path.c_str());  // of a generation that crashed
  if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address),
             sizeof(address)) != 0 ||
      ::listen(listener_.get(), 16) != 0) {
    ::abort();
  }
  thread_ = std::thread([this] { Serve(); });
}

ToyControl::~ToyControl() {
  ::shutdown(listener_.get(), SHUT_RDWR);  // ends the accept
  thread_.join();
}

void ToyControl::Serve() {
  while (true) {
    const UniqueFd connection(
        ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) return;
    WriteAll(connection.get(), Answer(*control_, ReadToEnd(connection.get())));
  }
}

std::string AskControl(const std::string& path, const std::string& request) {
  const UniqueFd connection(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = AddressOf(path);
  if (::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address),
                sizeof(address)) != 0) {
    return "";
  }
  WriteAll(connection.get(), request);
  ::shutdown(connection.get(), SHUT_WR);
  return ReadToEnd(connection.get());
}

}  // namespace handoff::toy
