#include "tests/process/descriptor_rows.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"

extern char** environ;

namespace handoff {
namespace {

using v1::DescriptorInfo;

constexpr int kPatienceMs = 30'000;

absl::Status Errno(absl::string_view what) {
  return absl::ErrnoToStatus(errno, what);
}

absl::Status Require(bool holds, absl::string_view what) {
  return holds ? absl::OkStatus()
               : absl::FailedPreconditionError(absl::StrCat("not so: ", what));
}

absl::Status AwaitReadable(int fd) {
  pollfd events = {fd, POLLIN, 0};
  if (::poll(&events, 1, kPatienceMs) == 1) return absl::OkStatus();
  return absl::DeadlineExceededError("nothing to read");
}

// OK where one read gives exactly `expected`.
absl::Status Reads(int fd, const std::string& expected) {
  if (absl::Status status = AwaitReadable(fd); !status.ok()) return status;
  char bytes[256];
  const ssize_t length = ::read(fd, bytes, sizeof(bytes));
  if (length < 0) return Errno("read");
  const std::string read(bytes, static_cast<size_t>(length));
  return Require(read == expected, absl::StrCat("read \"", read, "\""));
}

absl::Status Writes(int fd, const std::string& bytes) {
  const ssize_t length = ::write(fd, bytes.data(), bytes.size());
  return length == static_cast<ssize_t>(bytes.size()) ? absl::OkStatus()
                                                      : Errno("write");
}

// A socket on a free port of the loopback interface, and whoever it is
// connected to, if to anybody.
UniqueFd Bound(int type) {
  UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address),
             sizeof(address)) < 0) {
    socket.reset();
  }
  return socket;
}

void Connect(const UniqueFd& from, const UniqueFd& to) {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  auto* name = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(to.get(), name, &length) == 0) {
    (void)::connect(from.get(), name, length);
  }
}

// What has two ends: one moves with "before" on its way to it, and sends
// "after"; the other stays with the process that made both.
class TwoEnds : public DescriptorRow {
 public:
  UniqueFd Make(const std::string&) override {
    UniqueFd moves;
    MakeEnds(moves, other_);
    (void)Writes(other_.get(), "before");
    return moves;
  }
  absl::Status Use(int fd, const std::string&) override {
    absl::Status status = Reads(fd, "before");
    return status.ok() ? Writes(fd, "after") : status;
  }
  absl::Status After() override { return Reads(other_.get(), "after"); }

 protected:
  virtual void MakeEnds(UniqueFd& moves, UniqueFd& other) = 0;

 private:
  UniqueFd other_;
};

class Tcp : public TwoEnds {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::TCP; }
  void MakeEnds(UniqueFd& moves, UniqueFd& other) override {
    const UniqueFd listener = Bound(SOCK_STREAM);
    (void)::listen(listener.get(), 1);
    other = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Connect(other, listener);
    moves.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const int idle = 77;
    (void)::setsockopt(moves.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle,
                       sizeof(idle));
  }
  // Its options move with it.
  absl::Status Use(int fd, const std::string& folder) override {
    int idle = 0;
    socklen_t length = sizeof(idle);
    (void)::getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &length);
    absl::Status status = Require(idle == 77, "TCP_KEEPIDLE is 77");
    return status.ok() ? TwoEnds::Use(fd, folder) : status;
  }
};

class UnconnectedUdp : public TwoEnds {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::UDP; }
  void MakeEnds(UniqueFd& moves, UniqueFd& other) override {
    moves = Bound(SOCK_DGRAM);
    other = Bound(SOCK_DGRAM);
    Connect(other, moves);
  }
  absl::Status Use(int fd, const std::string&) override {
    char bytes[16];
    sockaddr_storage from;
    socklen_t length = sizeof(from);
    auto* name = reinterpret_cast<sockaddr*>(&from);
    if (::recvfrom(fd, bytes, sizeof(bytes), 0, name, &length) != 6) {
      return Errno("recvfrom");
    }
    return ::sendto(fd, "after", 5, 0, name, length) == 5 ? absl::OkStatus()
                                                          : Errno("sendto");
  }
};

class ConnectedUdp : public TwoEnds {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::UDP; }
  void MakeEnds(UniqueFd& moves, UniqueFd& other) override {
    moves = Bound(SOCK_DGRAM);
    other = Bound(SOCK_DGRAM);
    Connect(other, moves);
    Connect(moves, other);
  }
};

template <DescriptorInfo::Kind Kind, int Type>
class UnixPair : public TwoEnds {
  DescriptorInfo::Kind kind() const override { return Kind; }
  void MakeEnds(UniqueFd& moves, UniqueFd& other) override {
    int ends[2] = {-1, -1};
    (void)::socketpair(AF_UNIX, Type | SOCK_CLOEXEC, 0, ends);
    moves.reset(ends[0]);
    other.reset(ends[1]);
  }
};

class Tty : public TwoEnds {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::TTY; }
  void MakeEnds(UniqueFd& moves, UniqueFd& other) override {
    other.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (::grantpt(other.get()) < 0 || ::unlockpt(other.get()) < 0) return;
    moves.reset(::open(::ptsname(other.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios raw = {};
    ::cfmakeraw(&raw);
    (void)::tcsetattr(moves.get(), TCSANOW, &raw);
  }
  // Its settings are the terminal's, not the process's.
  absl::Status Use(int fd, const std::string& folder) override {
    termios settings;
    if (::tcgetattr(fd, &settings) < 0) return Errno("tcgetattr");
    absl::Status status = Require((settings.c_lflag & ECHO) == 0, "no echo");
    return status.ok() ? TwoEnds::Use(fd, folder) : status;
  }
};

class PipeReadEnd : public TwoEnds {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::PIPE; }
  void MakeEnds(UniqueFd& moves, UniqueFd& other) override {
    int ends[2] = {-1, -1};
    (void)::pipe2(ends, O_CLOEXEC);
    moves.reset(ends[0]);
    other.reset(ends[1]);
    written_ = ends[1];
  }
  absl::Status Use(int fd, const std::string&) override {
    return Reads(fd, "before");
  }
  // There is a reader still.
  absl::Status After() override { return Writes(written_, "more"); }

  int written_ = -1;
};

class PipeWriteEnd : public DescriptorRow {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::PIPE; }
  UniqueFd Make(const std::string&) override {
    int ends[2] = {-1, -1};
    (void)::pipe2(ends, O_CLOEXEC);
    other_.reset(ends[0]);
    return UniqueFd(ends[1]);
  }
  absl::Status Use(int fd, const std::string&) override {
    return Writes(fd, "after");
  }
  absl::Status After() override { return Reads(other_.get(), "after"); }

  UniqueFd other_;
};

// A regular file, whose offset moves, and its locks.
class File : public DescriptorRow {
 public:
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::FILE; }
  UniqueFd Make(const std::string& folder) override {
    path_ = folder + "/file";
    UniqueFd file = Open(O_CREAT);
    (void)Writes(file.get(), "before");
    Lock(file.get());
    return file;
  }
  absl::Status Use(int fd, const std::string&) override {
    return Require(::lseek(fd, 0, SEEK_CUR) == 6, "the offset is 6");
  }
  absl::Status After() override {
    const UniqueFd file = Open(0);
    return Require(IsLocked(file.get()) == KeepsLock(), "it keeps its lock");
  }

 protected:
  virtual void Lock(int /*fd*/) {}
  // Asked of another opening of the file.
  virtual bool IsLocked(int fd) {
    struct flock lock = Whole();
    return ::fcntl(fd, F_OFD_SETLK, &lock) < 0;
  }
  virtual bool KeepsLock() const { return false; }
  static struct flock Whole() {
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
  }

 private:
  UniqueFd Open(int flags) const {
    return UniqueFd(
        ::open(path_.c_str(), O_RDWR | O_CLOEXEC | flags, S_IRUSR | S_IWUSR));
  }
  std::string path_;
};

class FlockedFile : public File {
  void Lock(int fd) override { (void)::flock(fd, LOCK_EX); }
  bool IsLocked(int fd) override { return ::flock(fd, LOCK_EX | LOCK_NB) < 0; }
  bool KeepsLock() const override { return true; }
};

class OfdLockedFile : public File {
  void Lock(int fd) override {
    struct flock lock = Whole();
    (void)::fcntl(fd, F_OFD_SETLK, &lock);
  }
  bool KeepsLock() const override { return true; }
};

// In part: the lock is the process's, and lost with its copy.
class PosixLockedFile : public File {
  void Lock(int fd) override {
    struct flock lock = Whole();
    (void)::fcntl(fd, F_SETLK, &lock);
  }
};

class Directory : public DescriptorRow {
  DescriptorInfo::Kind kind() const override {
    return DescriptorInfo::DIRECTORY;
  }
  UniqueFd Make(const std::string& folder) override {
    return UniqueFd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  absl::Status Use(int fd, const std::string& folder) override {
    const UniqueFd file(
        ::openat(fd, "made", O_CREAT | O_RDWR | O_CLOEXEC, S_IRUSR));
    if (!file) return Errno("openat");
    return Require(::access((folder + "/made").c_str(), F_OK) == 0,
                   "it is in the folder");
  }
};

class Memory : public DescriptorRow {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::MEMFD; }
  UniqueFd Make(const std::string&) override {
    UniqueFd memory(::memfd_create("it", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    (void)Writes(memory.get(), "before");
    (void)::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK);
    return memory;
  }
  absl::Status Use(int fd, const std::string&) override {
    if (::lseek(fd, 0, SEEK_SET) < 0) return Errno("lseek");
    absl::Status status = Reads(fd, "before");
    if (!status.ok()) return status;
    return Require(::fcntl(fd, F_GET_SEALS) == F_SEAL_SHRINK, "its seals");
  }
};

class Eventfd : public DescriptorRow {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::EVENTFD; }
  UniqueFd Make(const std::string&) override {
    return UniqueFd(::eventfd(5, EFD_CLOEXEC | EFD_NONBLOCK));
  }
  absl::Status Use(int fd, const std::string&) override {
    eventfd_t count = 0;
    if (::eventfd_read(fd, &count) < 0) return Errno("eventfd_read");
    return Require(count == 5, "the count is 5");
  }
};

// Armed before the handoff; expires before, in or after it.
class Timer : public DescriptorRow {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::TIMERFD; }
  UniqueFd Make(const std::string&) override {
    UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    itimerspec once = {};
    once.it_value.tv_nsec = 100'000'000;
    (void)::timerfd_settime(timer.get(), 0, &once, nullptr);
    return timer;
  }
  absl::Status Use(int fd, const std::string&) override {
    if (absl::Status status = AwaitReadable(fd); !status.ok()) return status;
    uint64_t expirations = 0;
    if (::read(fd, &expirations, sizeof(expirations)) < 0) return Errno("read");
    return Require(expirations == 1, "it expired once");
  }
};

class Inotify : public DescriptorRow {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::INOTIFY; }
  UniqueFd Make(const std::string& folder) override {
    UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    (void)::inotify_add_watch(watch.get(), folder.c_str(), IN_CREATE);
    return watch;
  }
  absl::Status Use(int fd, const std::string& folder) override {
    const UniqueFd file(::open((folder + "/created").c_str(),
                               O_CREAT | O_RDWR | O_CLOEXEC, S_IRUSR));
    if (!file) return Errno("open");
    alignas(inotify_event) char bytes[4096];
    ssize_t length = 0;
    // What else was made there meanwhile comes first.
    while ((length = ::read(fd, bytes, sizeof(bytes))) > 0) {
      for (ssize_t at = 0; at < length;) {
        const auto* event = reinterpret_cast<const inotify_event*>(bytes + at);
        if (event->len != 0 && std::string(event->name) == "created") {
          return absl::OkStatus();
        }
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      }
    }
    return Errno("the event does not come");
  }
};

// In part: it reports the signals of whoever reads from it.
class Signalfd : public DescriptorRow {
  DescriptorInfo::Kind kind() const override {
    return DescriptorInfo::SIGNALFD;
  }
  UniqueFd Make(const std::string&) override {
    (void)::raise(SIGUSR1);
    return UniqueFd(::signalfd(-1, &Set(), SFD_CLOEXEC | SFD_NONBLOCK));
  }
  absl::Status Use(int fd, const std::string&) override {
    signalfd_siginfo signal = {};
    if (::read(fd, &signal, sizeof(signal)) >= 0) {
      return absl::InternalError("it reports the predecessor's signal");
    }
    (void)::kill(::getpid(), SIGUSR1);
    if (::read(fd, &signal, sizeof(signal)) < 0) return Errno("read");
    return Require(signal.ssi_pid == static_cast<uint32_t>(::getpid()),
                   "it reports the successor's signal");
  }
  // The one that nobody was told of.
  absl::Status After() override {
    int taken = 0;
    (void)::sigwait(&Set(), &taken);
    return Require(taken == SIGUSR1, "it waits still");
  }

  static const sigset_t& Set() {
    static const sigset_t set = [] {
      sigset_t usr1;
      ::sigemptyset(&usr1);
      ::sigaddset(&usr1, SIGUSR1);
      return usr1;
    }();
    return set;
  }
};

// In part: what the predecessor has registered goes on being reported for as
// long as anybody has it open, and nobody can remove it.
class Epoll : public DescriptorRow {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::EPOLL; }
  UniqueFd Make(const std::string&) override {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    const UniqueFd event(::eventfd(1, EFD_CLOEXEC));
    registered_.reset(::fcntl(event.get(), F_DUPFD_CLOEXEC, kRegistered));
    (void)Add(epoll.get(), registered_.get(), 7);
    return epoll;
  }
  absl::Status Use(int fd, const std::string&) override {
    const UniqueFd own(::eventfd(1, EFD_CLOEXEC));
    if (Add(fd, own.get(), 8) < 0) return Errno("epoll_ctl");
    if (::epoll_ctl(fd, EPOLL_CTL_DEL, kRegistered, nullptr) == 0) {
      return absl::InternalError("what was registered can be removed");
    }
    epoll_event events[3];
    if (::epoll_wait(fd, events, 3, 0) != 2) return Errno("not two events");
    return Require(events[0].data.u64 + events[1].data.u64 == 7 + 8,
                   "one of each");
  }

  static int Add(int epoll, int fd, uint64_t data) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = data;
    return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }
  // In the predecessor; nothing has this number in the successor.
  static constexpr int kRegistered = 900;
  UniqueFd registered_;
};

// In part: that the process has ended can be seen; how, only by its parent.
class Pidfd : public DescriptorRow {
  DescriptorInfo::Kind kind() const override { return DescriptorInfo::PIDFD; }
  UniqueFd Make(const std::string&) override {
    char name[] = "/bin/true";
    char* const argv[] = {name, nullptr};
    (void)::posix_spawn(&pid_, name, nullptr, nullptr, argv, environ);
    return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  absl::Status Use(int fd, const std::string&) override {
    if (absl::Status status = AwaitReadable(fd); !status.ok()) return status;
    siginfo_t info;
    const int waited = ::waitid(static_cast<idtype_t>(3 /* P_PIDFD */),
                                static_cast<id_t>(fd), &info, WEXITED);
    return Require(waited < 0 && errno == ECHILD, "waitid gives ECHILD");
  }
  absl::Status After() override {
    return Require(::waitpid(pid_, nullptr, 0) == pid_, "its parent reaps it");
  }

  pid_t pid_ = -1;
};

template <typename Row>
std::unique_ptr<DescriptorRow> New() {
  return std::make_unique<Row>();
}

}  // namespace

std::map<std::string, std::function<std::unique_ptr<DescriptorRow>()>>
DescriptorRows() {
  using UnixStream = UnixPair<DescriptorInfo::UNIX_STREAM, SOCK_STREAM>;
  using UnixDatagram = UnixPair<DescriptorInfo::UNIX_DATAGRAM, SOCK_DGRAM>;
  using UnixPackets = UnixPair<DescriptorInfo::UNIX_SEQPACKET, SOCK_SEQPACKET>;
  return {{"Tcp", New<Tcp>},
          {"UnconnectedUdp", New<UnconnectedUdp>},
          {"ConnectedUdp", New<ConnectedUdp>},
          {"UnixStream", New<UnixStream>},
          {"UnixDatagram", New<UnixDatagram>},
          {"UnixSeqpacket", New<UnixPackets>},
          {"PipeReadEnd", New<PipeReadEnd>},
          {"PipeWriteEnd", New<PipeWriteEnd>},
          {"FileWithOffset", New<File>},
          {"FlockedFile", New<FlockedFile>},
          {"OfdLockedFile", New<OfdLockedFile>},
          {"PosixLockedFile", New<PosixLockedFile>},
          {"Directory", New<Directory>},
          {"Memfd", New<Memory>},
          {"Eventfd", New<Eventfd>},
          {"Timerfd", New<Timer>},
          {"Inotify", New<Inotify>},
          {"Signalfd", New<Signalfd>},
          {"Epoll", New<Epoll>},
          {"Pidfd", New<Pidfd>},
          {"Tty", New<Tty>}};
}

}  // namespace handoff
