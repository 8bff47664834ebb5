// Two processes of the example, one after the other, and one client.

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace {

using Clock = std::chrono::steady_clock;

// Of each wait. Longer than any deadline of the library's but the watch.
constexpr auto kPatience = std::chrono::seconds(10);

// What arrives at `fd` up to and with the next newline; what came so far where
// none comes in time.
std::string ReadLine(int fd) {
  const Clock::time_point deadline = Clock::now() + kPatience;
  std::string line;
  while (line.empty() || line.back() != '\n') {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - Clock::now());
    pollfd polled = {fd, POLLIN, 0};
    char byte;
    if (left.count() <= 0 ||
        poll(&polled, 1, static_cast<int>(left.count())) <= 0 ||
        read(fd, &byte, 1) != 1) {
      break;
    }
    line += byte;
  }
  return line;
}

// A process of the example; killed at the end where it still runs.
class EchoService {
 public:
  EchoService(const std::string& path, const std::string& address) {
    int out[2];
    if (pipe(out) != 0) return;
    const std::string binary = std::string(std::getenv("TEST_SRCDIR")) + "/" +
                               std::getenv("TEST_WORKSPACE") + "/echo_service";
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      close(out[0]);
      close(out[1]);
      execl(binary.c_str(), "echo_service", path.c_str(), address.c_str(),
            nullptr);
      _exit(127);
    }
    close(out[1]);
    out_ = out[0];
    said_ = ReadLine(out_);
  }
  EchoService(const EchoService&) = delete;
  EchoService& operator=(const EchoService&) = delete;
  ~EchoService() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(out_);
  }

  std::string pid() const { return std::to_string(pid_); }
  // The first line of its standard output.
  const std::string& said() const { return said_; }
  void Signal(int number) const { kill(pid_, number); }
  // What waitpid(2) says, once it has closed its standard output.
  int Wait() {
    EXPECT_EQ(ReadLine(out_), "") << "the service says no more";
    int status = -1;
    pollfd polled = {out_, POLLIN, 0};
    if (poll(&polled, 1, 0) != 1) return status;  // it still runs
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string said_;
};

class EchoServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(folder_), nullptr);
    // Keeps the port for the services, which may bind it too as long as nobody
    // listens.
    const int on = 1;
    reserved_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(reserved_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address_);
    ASSERT_EQ(bind(reserved_, reinterpret_cast<sockaddr*>(&address_), length),
              0);
    getsockname(reserved_, reinterpret_cast<sockaddr*>(&address_), &length);
  }
  void TearDown() override {
    close(reserved_);
    std::filesystem::remove_all(folder_);
  }

  std::string path() const { return std::string(folder_) + "/handoff"; }
  std::string address() const {
    return "tcp:127.0.0.1:" + std::to_string(ntohs(address_.sin_port));
  }
  int Connect() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address_),
                      sizeof(address_)),
              0);
    return fd;
  }
  static void Send(int fd, const std::string& bytes) {
    EXPECT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

 private:
  char folder_[16] = "/tmp/ho.XXXXXX";
  int reserved_ = -1;
  sockaddr_in address_ = {};
};

TEST_F(EchoServiceTest, AConnectionGoesOnInTheMiddleOfALineWithTheNextProcess) {
  EchoService first(path(), address());
  ASSERT_EQ(first.said(), first.pid() + " serves: OK\n");
  const int client = Connect();
  Send(client, "one\ntw");
  EXPECT_EQ(ReadLine(client), first.pid() + " one\n");

  EchoService second(path(), address());
  ASSERT_EQ(second.said(), second.pid() + " serves: OK\n");
  Send(client, "o\nthree\n");
  EXPECT_EQ(ReadLine(client), second.pid() + " two\n");
  EXPECT_EQ(ReadLine(client), second.pid() + " three\n");

  EchoService third(path(), address());
  ASSERT_EQ(third.said(), third.pid() + " serves: OK\n");
  EXPECT_EQ(first.Wait(), 0) << "retired, the first one exits by itself";
  Send(client, "four\n");
  EXPECT_EQ(ReadLine(client), third.pid() + " four\n");
  const int newcomer = Connect();
  Send(newcomer, "hello\n");
  EXPECT_EQ(ReadLine(newcomer), third.pid() + " hello\n");

  close(client);
  close(newcomer);
}

TEST_F(EchoServiceTest, AStoppedServiceExitsAndLetsItsPredecessorGo) {
  EchoService first(path(), address());
  ASSERT_EQ(first.said(), first.pid() + " serves: OK\n");
  EchoService second(path(), address());
  ASSERT_EQ(second.said(), second.pid() + " serves: OK\n");
  const int client = Connect();
  Send(client, "one\n");
  EXPECT_EQ(ReadLine(client), second.pid() + " one\n");

  second.Signal(SIGTERM);
  EXPECT_EQ(second.Wait(), 0);
  EXPECT_EQ(first.Wait(), 0) << "a successor that stops is no crash";
  EXPECT_EQ(ReadLine(client), "") << "the service is gone";
  close(client);
}

TEST_F(EchoServiceTest, WhenTheSuccessorCrashesThePredecessorAcceptsAgain) {
  EchoService first(path(), address());
  ASSERT_EQ(first.said(), first.pid() + " serves: OK\n");
  EchoService second(path(), address());
  ASSERT_EQ(second.said(), second.pid() + " serves: OK\n");

  second.Signal(SIGKILL);
  const int client = Connect();
  Send(client, "one\n");
  EXPECT_EQ(ReadLine(client), first.pid() + " one\n");
  close(client);
}

}  // namespace
