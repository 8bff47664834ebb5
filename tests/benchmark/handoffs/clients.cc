#include "tests/benchmark/handoffs/clients.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "handoff/fd/unique_fd.h"
#include "tests/benchmark/handoffs/program.h"

namespace handoff::benchmark {
namespace {

constexpr int kPeriodMilliseconds = 5;
constexpr char kWords[] = "fifteen letters";

struct Client {
  UniqueFd fd;
  size_t awaited = 0;  // bytes that are to come back
};

UniqueFd Connect(int port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  Require(
      fd.valid() && ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                              sizeof(address)) == 0,
      absl::StrCat("connect: ", std::strerror(errno)));
  return fd;
}

// True where an echo is complete.
bool Hear(Client& client) {
  char bytes[sizeof(kWords)];
  const ssize_t n =
      ::recv(client.fd.get(), bytes, client.awaited, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return false;
  Require(n > 0 && std::memcmp(bytes, kWords + sizeof(kWords) - client.awaited,
                               static_cast<size_t>(n)) == 0,
          "a client's connection has ended, or brings a wrong byte");
  client.awaited -= static_cast<size_t>(n);
  return client.awaited == 0;
}

void Talk(std::vector<Client>& clients, size_t talking, int64_t& echoes) {
  for (size_t i = 0; i < clients.size() && i < talking; ++i) {
    Client& client = clients[i];
    if (client.awaited > 0) {
      if (!Hear(client)) continue;
      ++echoes;
    }
    Require(::send(client.fd.get(), kWords, sizeof(kWords), MSG_NOSIGNAL) ==
                sizeof(kWords),
            "a client cannot send");
    client.awaited = sizeof(kWords);
  }
}

void AwaitEchoes(std::vector<Client>& clients, int64_t& echoes) {
  for (Client& client : clients) {
    while (client.awaited > 0) {
      pollfd polled = {client.fd.get(), POLLIN, 0};
      Require(::poll(&polled, 1, 10'000) > 0, "an echo does not come");
      if (Hear(client)) ++echoes;
    }
  }
}

}  // namespace

void RunClients(int port, int count) {
  std::vector<Client> clients(static_cast<size_t>(count));
  for (Client& client : clients) client.fd = Connect(port);
  Say("connected");
  size_t talking = 0;
  int64_t echoes = 0;
  while (true) {
    pollfd polled = {STDIN_FILENO, POLLIN, 0};
    const int told = ::poll(&polled, 1, talking > 0 ? kPeriodMilliseconds : -1);
    if (told > 0) {
      const std::string line = benchmark::Hear();
      absl::string_view rest = line;
      if (line.empty()) return;
      if (absl::ConsumePrefix(&rest, "talk ")) {
        Require(absl::SimpleAtoi(rest, &talking), line);
      } else {
        talking = 0;
        AwaitEchoes(clients, echoes);
        Say(absl::StrCat("echoes ", echoes));
        echoes = 0;
      }
    }
    Talk(clients, talking, echoes);
  }
}

}  // namespace handoff::benchmark
