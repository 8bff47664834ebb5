#include "tests/server/served.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace handoff::server {
namespace {

// In the runfiles of a test, which is where it is started.
constexpr char kServer[] = "server/handoff_server";

std::string MakeFolder() {
  char name[] = "/tmp/served.XXXXXX";
  const char* made = ::mkdtemp(name);
  if (made == nullptr) ::abort();
  return made;
}

load::ServerProcesses MakeProcesses(const std::string& log) {
  auto processes = load::ServerProcesses::Create(log);
  if (!processes.ok()) ::abort();
  return *std::move(processes);
}

}  // namespace

bool Eventually(const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!done()) {
    if (absl::Now() > deadline) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

Served::Served()
    : folder_(MakeFolder()), processes_(MakeProcesses(folder_ + "/log")) {
  std::filesystem::copy_file(kServer, File("server"));
}

Served::~Served() {
  if (HasFailure()) ADD_FAILURE() << "the servers' log:\n" << Log();
  { load::ServerProcesses ended = std::move(processes_); }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Served::Start(const std::vector<std::string>& more) {
  std::vector<std::string> argv = {File("server"), "--http=tcp:127.0.0.1:0",
                                   absl::StrCat("--handoff=", File("h")),
                                   "--watch=100ms"};
  argv.insert(argv.end(), more.begin(), more.end());
  auto pid = processes_.Start(argv);
  ASSERT_TRUE(pid.ok()) << pid.status();
  WaitReady("a started server");
}

void Served::Upgrade() {
  UpgradeBy([this] { ASSERT_EQ(::kill(serving(), SIGUSR2), 0); });
}

void Served::UpgradeBy(const std::function<void()>& begin) {
  begin();
  AwaitSuccessor();
}

void Served::AwaitSuccessor() {
  const pid_t before = serving();
  WaitReady("a server started by another");
  EXPECT_NE(serving(), before);
  processes_.Adopt(serving());
}

void Served::WaitReady(const char* what) {
  absl::optional<std::string> text;
  ASSERT_TRUE(Eventually([&] {
    text = processes_.TakeLine();
    return text.has_value();
  })) << what
      << " does not serve";
  auto line = load::ParseReadyLine(*text);
  ASSERT_TRUE(line.ok()) << *text;
  if (line->generation > 1 && serving() != 0) replaced_.push_back(serving());
  line_ = *line;
}

void Served::TearDown() {
  for (const pid_t pid : replaced_) {
    EXPECT_EQ(ExitCode(pid), 0) << "of pid " << pid << ", which handed over";
  }
  // Of processes too whose end nobody looks at, such as those that rehearse.
  EXPECT_FALSE(absl::StrContains(Log(), "Sanitizer: ")) << "in a server";
}

void Served::ReplaceBinary() {
  std::filesystem::copy_file(kServer, File("new"));
  std::filesystem::rename(File("new"), File("server"));
}

int Served::ExitCode(pid_t pid) {
  absl::optional<int> status;
  if (!Eventually([&] {
        status = processes_.Ended(pid);
        return status.has_value();
      })) {
    ADD_FAILURE() << "pid " << pid << " does not end";
    return -1000;
  }
  return WIFEXITED(*status) ? WEXITSTATUS(*status) : -WTERMSIG(*status);
}

std::string Served::Log() const {
  std::ifstream log(File("log"));
  std::stringstream text;
  text << log.rdbuf();
  return text.str();
}

std::string Served::Run(const std::vector<std::string>& argv) {
  auto output = processes_.Run(argv, kPatience);
  EXPECT_TRUE(output.ok()) << output.status();
  return output.ok() ? *output : "";
}

pid_t Served::Launch(const std::vector<std::string>& argv) {
  auto pid = processes_.Start(argv);
  EXPECT_TRUE(pid.ok()) << pid.status();
  return pid.ok() ? *pid : 0;
}

std::string Served::Url(const std::string& path) const {
  return absl::StrCat("http://127.0.0.1:", ntohs(line_.http.sin_port), path);
}

Client::Client(const load::ReadyLine& server)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const timeval patience = {absl::ToInt64Seconds(kPatience), 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&server.http),
                      sizeof(server.http)),
            0);
}

Client::Client(Client&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}

Client::~Client() {
  if (fd_ >= 0) ::close(fd_);
}

void Client::Send(const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n =
        ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    ASSERT_GT(n, 0) << "the server took " << sent << " of " << bytes.size();
    sent += static_cast<size_t>(n);
  }
}

void Client::AwaitSent() {
  EXPECT_TRUE(Eventually([this] {
    int unacknowledged = 0;
    return ::ioctl(fd_, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0;
  }));
}

void Client::HalfClose() { ::shutdown(fd_, SHUT_WR); }

std::string Client::Read(size_t size) {
  while (buffer_.size() < size) {
    char bytes[64 * 1024];
    const ssize_t n = ::recv(fd_, bytes, sizeof(bytes), 0);
    if (n <= 0) break;
    buffer_.append(bytes, static_cast<size_t>(n));
  }
  std::string read = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return read;
}

Client::Response Client::ReadResponse() {
  Response response;
  while (!absl::EndsWith(response.header, "\r\n\r\n")) {
    const std::string byte = Read(1);
    if (byte.empty()) return response;
    response.header += byte;
  }
  (void)absl::SimpleAtoi(response.header.substr(9, 3), &response.status);
  const std::string lower = absl::AsciiStrToLower(response.header);
  const size_t at = lower.find("content-length: ");
  size_t length = 0;
  if (at != std::string::npos) {
    (void)absl::SimpleAtoi(
        lower.substr(at + 16, lower.find('\r', at) - at - 16), &length);
  }
  response.body = Read(length);
  return response;
}

std::string StreamBytes(uint64_t count) {
  std::string bytes(count, '\0');
  for (uint64_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<char>((i * 2654435761 >> 13) & 0xff);
  }
  return bytes;
}

}  // namespace handoff::server
