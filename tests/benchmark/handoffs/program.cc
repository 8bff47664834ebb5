#include "tests/benchmark/handoffs/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace handoff::benchmark {

void Die(absl::string_view what) {
  std::cerr << "handoff_benchmark: " << what << std::endl;
  std::_Exit(1);
}

void Require(bool ok, absl::string_view what) {
  if (!ok) Die(what);
}

int64_t NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Figures ParseFigures(absl::string_view line) {
  Figures figures;
  for (absl::string_view pair : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> split =
        absl::StrSplit(pair, absl::MaxSplits('=', 1));
    figures[split.first] = split.second;
  }
  return figures;
}

int64_t IntIn(const Figures& figures, const std::string& key) {
  int64_t value = 0;
  const auto it = figures.find(key);
  Require(it != figures.end() && absl::SimpleAtoi(it->second, &value),
          absl::StrCat("a role has not reported ", key));
  return value;
}

void Say(absl::string_view line) { std::cout << line << std::endl; }

std::string Hear() {
  std::string line;
  std::getline(std::cin, line);
  return line;
}

Program::Program(std::vector<std::string> arguments) {
  int in[2];
  int out[2];
  Require(::pipe2(in, O_CLOEXEC) == 0 && ::pipe2(out, O_CLOEXEC) == 0, "pipe2");
  in_.reset(in[1]);
  out_.reset(out[0]);
  const UniqueFd child_in(in[0]);
  const UniqueFd child_out(out[1]);
  std::string self = "/proc/self/exe";
  std::vector<char*> argv = {self.data()};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    // Whatever becomes of the driver.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(child_in.get(), STDIN_FILENO);
    ::dup2(child_out.get(), STDOUT_FILENO);
    ::execv(self.c_str(), argv.data());
    ::_exit(127);
  }
  Require(pid_ > 0, "fork");
}

Program::~Program() {
  if (!in_ || pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Program::Tell(absl::string_view line) {
  const std::string text = absl::StrCat(line, "\n");
  Require(::write(in_.get(), text.data(), text.size()) ==
              static_cast<ssize_t>(text.size()),
          absl::StrCat("process ", pid_, " does not listen"));
}

std::string Program::Line() {
  const int64_t deadline = NowNanos() + absl::ToInt64Nanoseconds(kPatience);
  size_t end;
  while ((end = read_.find('\n')) == std::string::npos) {
    pollfd polled = {out_.get(), POLLIN, 0};
    const int64_t left = (deadline - NowNanos()) / 1'000'000;
    char bytes[4096];
    const ssize_t n = left > 0 && ::poll(&polled, 1, static_cast<int>(left)) > 0
                          ? ::read(out_.get(), bytes, sizeof(bytes))
                          : -1;
    Require(n > 0, absl::StrCat("process ", pid_,
                                n == 0 ? " has ended" : " says nothing"));
    read_.append(bytes, static_cast<size_t>(n));
  }
  std::string line = read_.substr(0, end);
  read_.erase(0, end + 1);
  return line;
}

std::string Program::Answer(absl::string_view word) {
  const std::string line = Line();
  absl::string_view rest = line;
  Require(absl::ConsumePrefix(&rest, word),
          absl::StrCat("process ", pid_, " says \"", line, "\" in place of \"",
                       word, "\""));
  return std::string(absl::StripLeadingAsciiWhitespace(rest));
}

void Program::End() {
  in_.reset();
  int status = -1;
  ::waitpid(pid_, &status, 0);
  Require(WIFEXITED(status) && WEXITSTATUS(status) == 0,
          absl::StrCat("process ", pid_, " ended with status ", status));
}

}  // namespace handoff::benchmark
