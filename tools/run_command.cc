#include "tools/run_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

constexpr int kPatienceMs = 30'000;

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t size;
  while ((size = ::read(fd, buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<size_t>(size));
  }
  ::close(fd);
  return text;
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) {
    pointers.push_back(const_cast<char*>(word.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

RunningCommand::RunningCommand(const std::vector<std::string>& arguments,
                               int out,
                               const std::vector<std::string>& variables) {
  const char* const program = ::getenv("HANDOFF_COMMAND");
  if (program == nullptr) {
    ADD_FAILURE() << "HANDOFF_COMMAND does not say where the command is";
    return;
  }
  int out_pipe[2] = {-1, out};
  int err_pipe[2];
  if (out < 0) {
    EXPECT_EQ(::pipe2(out_pipe, O_CLOEXEC), 0);
  }
  EXPECT_EQ(::pipe2(err_pipe, O_CLOEXEC), 0);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, out_pipe[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err_pipe[1], STDERR_FILENO);
  std::vector<std::string> argv = {"handoff"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.emplace_back(*variable);
  }
  EXPECT_EQ(::posix_spawn(&pid_, program, &actions, nullptr,
                          Pointers(argv).data(), Pointers(environment).data()),
            0)
      << program;
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(out_pipe[1]);
  ::close(err_pipe[1]);
  out_ = out_pipe[0];
  err_ = err_pipe[0];
}

RunningCommand::~RunningCommand() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  End();
}

std::string RunningCommand::ReadLine() {
  while (true) {
    const size_t end = read_.find('\n');
    if (end != std::string::npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    pollfd ready = {out_, POLLIN, 0};
    char buffer[4096];
    const ssize_t size = ::poll(&ready, 1, kPatienceMs) == 1
                             ? ::read(out_, buffer, sizeof(buffer))
                             : 0;
    if (size <= 0) {
      ADD_FAILURE() << "no line of output; so far: " << read_;
      return "";
    }
    read_.append(buffer, static_cast<size_t>(size));
  }
}

void RunningCommand::CloseOutput() {
  ::close(out_);
  out_ = -1;
}

void RunningCommand::Signal(int signal) { EXPECT_EQ(::kill(pid_, signal), 0); }

CommandResult RunningCommand::End() {
  CommandResult result;
  if (pid_ <= 0) return result;
  // One after the other: what goes to stderr is a few lines.
  result.out = read_;
  if (out_ >= 0) result.out += ReadAll(out_);
  result.err = ReadAll(err_);
  int status = 0;
  EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
  result.exit_code =
      WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  pid_ = out_ = err_ = -1;
  return result;
}

CommandResult RunCommand(const std::vector<std::string>& arguments, int out,
                         const std::vector<std::string>& variables) {
  return RunningCommand(arguments, out, variables).End();
}

void ExpectFailure(const CommandResult& result, int code,
                   absl::string_view text) {
  EXPECT_EQ(result.exit_code, code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, ::testing::StartsWith("handoff: "));
  EXPECT_THAT(result.err, ::testing::HasSubstr(std::string(text)));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1)
      << result.err;
  ASSERT_FALSE(result.err.empty());
  EXPECT_EQ(result.err.back(), '\n') << result.err;
}

}  // namespace handoff
