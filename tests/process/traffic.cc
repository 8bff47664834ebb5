#include "tests/process/traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/process/toy_group.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

// More than both sockets' buffers hold, so that the service has to keep some,
// and more than goes inline into a frame.
constexpr size_t kFlood = 200'000;
constexpr size_t kHalfFlood = kFlood / 2;
constexpr int kReceiveBuffer = 16 * 1024;

// Echoes under way on one connection: one can be read and another answered when
// the handoff cuts in.
constexpr uint64_t kMaxEchoes = 3;
constexpr absl::Duration kPace = absl::Milliseconds(3);
constexpr uint64_t kProgress = 3;

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int Connect(int fd, int port) {
  const sockaddr_in address = Loopback(port);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address),
                   sizeof(address));
}

}  // namespace

Traffic::Traffic(int port) : port_(port), short_(kShort) {
  short_[0].client_closes = true;
  for (size_t i = 0; i < kTracked; ++i) {
    auto t = std::make_unique<Tracked>();
    t->kind = i < 4 ? Kind::kKept : i < 7 ? Kind::kAsking : Kind::kReading;
    t->fd = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (t->kind == Kind::kReading) {
      ::setsockopt(t->fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer,
                   sizeof(kReceiveBuffer));
    }
    t->lost = Connect(t->fd.get(), port_) != 0;
    AskCount(*t);
    tracked_.push_back(std::move(t));
  }
  thread_ = std::thread([this] { Run(); });
}

Traffic::~Traffic() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    quit_ = true;
  }
  thread_.join();
}

void Traffic::Wrong(const std::string& what) {
  if (report_.wrong.size() < 10) report_.wrong.push_back(what);
}

void Traffic::Ask(Tracked& t, const std::string& line,
                  const std::string& answer) {
  t.to_send += line;
  t.expected += answer;
}

void Traffic::AskCount(Tracked& t) {
  Ask(t, "count\n", "");
  t.counted = Counted::kAsked;
  t.count.clear();
}

void Traffic::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  while (!quit_) {
    std::vector<pollfd> polled;
    for (auto& t : tracked_) {
      if (t->lost) continue;
      StepTracked(*t);
      const bool reads = t->received < t->read_limit;
      polled.push_back(
          {t->lost || (!reads && t->to_send.empty()) ? -1 : t->fd.get(),
           static_cast<short>((reads ? POLLIN : 0) |
                              (t->to_send.empty() ? 0 : POLLOUT)),
           0});
    }
    for (Short& s : short_) {
      StepShort(s);
      if (s.fd) {
        polled.push_back({s.fd.get(),
                          static_cast<short>(s.connected ? POLLIN : POLLOUT),
                          0});
      }
    }
    changed_.notify_all();
    lock.unlock();
    ::poll(polled.data(), polled.size(), 1);  // the pace of what is sent
    lock.lock();
  }
}

void Traffic::StepTracked(Tracked& t) {
  Receive(t);
  const absl::Time now = absl::Now();
  const bool idle = t.expected.empty() && t.counted != Counted::kAsked;
  if (t.session == 0 || t.lost || t.finished) {
    // Its session is not known yet, or there is nothing more to ask.
  } else if (t.kind == Kind::kKept) {
    t.under_way = t.answered >= kProgress;
    if (finishing_ && idle) {
      t.counted == Counted::kDone ? void(t.finished = true) : AskCount(t);
    } else if (!finishing_ && now >= t.next_echo &&
               t.echoes < t.answered + kMaxEchoes) {
      t.counted = Counted::kNever;
      const std::string line =
          absl::StrCat("echo ", t.session, "-", t.echoes++, "\n");
      Ask(t, line, line);
      t.next_echo = now + kPace;
    }
  } else if (!t.half_done) {
    const bool reading = t.kind == Kind::kReading;
    const std::string half = absl::StrCat("echo of ", t.session);
    if (!t.under_way && idle) {
      t.counted = Counted::kNever;
      if (reading) {
        t.read_limit = t.received + kHalfFlood;
        Ask(t, absl::StrCat("flood ", kFlood, "\n"),
            FloodPattern(kFlood) + "\n");
      } else {
        Ask(t, half, "");
      }
      t.under_way = !reading;
    }
    if (reading && t.received >= t.read_limit) t.under_way = true;
    if (finishing_ && t.under_way) {
      t.half_done = true;
      t.read_limit = UINT64_MAX;
      if (!reading) Ask(t, " the rest\n", half + " the rest\n");
    }
  } else if (idle) {
    t.counted == Counted::kDone ? void(t.finished = true) : AskCount(t);
  }
  while (!t.to_send.empty() && !t.lost) {
    const ssize_t n = ::send(t.fd.get(), t.to_send.data(), t.to_send.size(),
                             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) break;  // the end is seen by the next read
    t.sent += static_cast<uint64_t>(n);
    t.to_send.erase(0, static_cast<size_t>(n));
  }
}

void Traffic::Receive(Tracked& t) {
  char bytes[65536];
  while (!t.lost && t.received < t.read_limit) {
    const size_t most =
        std::min<uint64_t>(sizeof(bytes), t.read_limit - t.received);
    const ssize_t n = ::recv(t.fd.get(), bytes, most, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      t.lost = true;
      report_.lost.insert(t.session);
      return;
    }
    std::string got(bytes, static_cast<size_t>(n));
    t.received += got.size();
    const size_t known = std::min(got.size(), t.expected.size());
    if (t.expected.compare(0, known, got, 0, known) != 0) {
      Wrong(absl::StrCat("session ", t.session, " at byte ", t.received - n,
                         " has to read \"", t.expected.substr(0, 60),
                         "\" and reads \"", got.substr(0, 60), "\""));
      t.lost = true;
      return;
    }
    if (t.kind == Kind::kKept) {
      t.answered += static_cast<uint64_t>(
          std::count(got.begin(), got.begin() + known, '\n'));
    }
    t.expected.erase(0, known);
    got.erase(0, known);
    if (got.empty()) continue;
    if (t.counted != Counted::kAsked) {
      Wrong(absl::StrCat("session ", t.session, " reads \"", got.substr(0, 60),
                         "\", which nobody asked for"));
      t.lost = true;
      return;
    }
    t.count += got;
    if (t.count.back() == '\n') CheckCount(t);
  }
}

void Traffic::CheckCount(Tracked& t) {
  const std::vector<std::string> words =
      absl::StrSplit(t.count.substr(0, t.count.size() - 1), ' ');
  uint64_t n[6] = {};
  bool ok = words.size() == 6;
  for (size_t i = 0; i < 6 && ok; ++i) ok = absl::SimpleAtoi(words[i], &n[i]);
  const uint64_t before = t.received - t.count.size();
  if (t.session == 0) {
    t.session = n[0];
    report_.sessions.insert(t.session);
  }
  if (!ok || n[0] != t.session || n[1] != t.sent || n[1] != n[4] ||
      n[2] != n[5] || n[2] + n[3] != before) {
    Wrong(absl::StrCat("session ", t.session, ", which has sent ", t.sent,
                       " bytes and read ", before, ", is counted as \"",
                       words.size() == 6 ? t.count : "?",
                       "\": id, consumed and written, pending, and consumed "
                       "and written by the kernel"));
  }
  t.counted = Counted::kDone;
}

void Traffic::StepShort(Short& s) {
  const absl::Time now = absl::Now();
  if (!s.fd) {
    if (short_paused_ || now < s.next) return;
    s.next = now + kPace;
    s.fd = UniqueFd(
        ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    s.connected = false;
    if (Connect(s.fd.get(), port_) != 0 && errno != EINPROGRESS) {
      s.fd.reset();
      ++report_.refused;
      report_.last_refused = now;
    }
    return;
  }
  if (!s.connected) {
    pollfd polled = {s.fd.get(), POLLOUT, 0};
    if (::poll(&polled, 1, 0) <= 0) return;
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(s.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      ++report_.refused;
      report_.last_refused = now;
      s.fd.reset();
      return;
    }
    s.connected = true;
    s.expected = absl::StrCat("echo short ", ++s.number, "\n");
    const std::string ask = s.expected + (s.client_closes ? "" : "close\n");
    [[maybe_unused]] ssize_t n =
        ::send(s.fd.get(), ask.data(), ask.size(), MSG_NOSIGNAL);
  }
  char bytes[256];
  const ssize_t n = ::recv(s.fd.get(), bytes, sizeof(bytes), 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    ++(s.expected.empty() && !s.client_closes ? report_.short_done
                                              : report_.short_lost);
    s.fd.reset();
    return;
  }
  const std::string got(bytes, static_cast<size_t>(n));
  if (s.expected.compare(0, got.size(), got) != 0) {
    Wrong(absl::StrCat("a short connection has to read \"", s.expected,
                       "\" and reads \"", got, "\""));
  }
  s.expected.erase(0, got.size());
  if (s.expected.empty() && s.client_closes) {
    ++report_.short_done;
    s.fd.reset();
  }
}

bool Traffic::Until(const std::function<bool()>& done) {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, absl::ToChronoMilliseconds(kPatience), done);
}

bool Traffic::WaitUnderWay() {
  return Until([this] {
    return std::all_of(tracked_.begin(), tracked_.end(), [](const auto& t) {
      return t->under_way && t->to_send.empty();
    });
  });
}

bool Traffic::WaitProgress() {
  std::vector<uint64_t> from;
  {
    std::lock_guard<std::mutex> lock(mu_);
    for (const auto& t : tracked_) from.push_back(t->answered);
  }
  return Until([&] {
    for (size_t i = 0; i < tracked_.size(); ++i) {
      const Tracked& t = *tracked_[i];
      if (t.kind == Kind::kKept && !t.lost &&
          t.answered < from[i] + kProgress) {
        return false;
      }
    }
    return true;
  });
}

bool Traffic::PauseShort() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    short_paused_ = true;
  }
  return Until([this] {
    return std::none_of(short_.begin(), short_.end(),
                        [](const Short& s) { return bool{s.fd}; });
  });
}

void Traffic::ResumeShort() {
  std::lock_guard<std::mutex> lock(mu_);
  short_paused_ = false;
}

bool Traffic::Finish() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    finishing_ = true;
  }
  return Until([this] {
    return std::all_of(tracked_.begin(), tracked_.end(),
                       [](const auto& t) { return t->lost || t->finished; });
  });
}

Traffic::Report Traffic::GetReport() {
  std::lock_guard<std::mutex> lock(mu_);
  Report report = report_;
  for (const auto& t : tracked_) {
    absl::StrAppend(&report.standing, t->session, t->lost ? " lost" : " lives",
                    ", sent ", t->sent, ", read ", t->received, ", awaits ",
                    t->expected.size(), t->finished ? ", finished" : "", "\n");
  }
  return report;
}

}  // namespace handoff::toy
