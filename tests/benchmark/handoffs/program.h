#ifndef TESTS_BENCHMARK_HANDOFFS_PROGRAM_H_
#define TESTS_BENCHMARK_HANDOFFS_PROGRAM_H_

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "handoff/fd/unique_fd.h"

// The processes of a benchmark: this program, executed again in another role,
// told what to do by lines on its standard input, and answering by lines.

namespace handoff::benchmark {

// Longer than anything here takes: what is not there by then has failed.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

// Ends this process with 1 and a line on standard error. A benchmark whose
// parts do not work has nothing to say.
[[noreturn]] void Die(absl::string_view what);
// The same where `ok` is false.
void Require(bool ok, absl::string_view what);

// CLOCK_MONOTONIC, which is one for all processes.
int64_t NowNanos();

// "key=value key=value": what a role reports.
using Figures = std::map<std::string, std::string>;
Figures ParseFigures(absl::string_view line);
int64_t IntIn(const Figures& figures, const std::string& key);

// Writes a line to standard output, at once.
void Say(absl::string_view line);
// The next line of standard input; empty at its end.
std::string Hear();

// Not thread-safe. Killed at the end, if it has not ended by then.
class Program {
 public:
  explicit Program(std::vector<std::string> arguments);
  Program(Program&&) = default;
  Program& operator=(Program&&) = delete;
  ~Program();

  pid_t pid() const { return pid_; }
  void Tell(absl::string_view line);
  // Its next line, which has to begin with `word`; what follows that.
  std::string Answer(absl::string_view word);
  // The end of its standard input tells a role to end. Dies where its exit code
  // is not 0.
  void End();

 private:
  std::string Line();

  pid_t pid_ = -1;
  UniqueFd in_;
  UniqueFd out_;
  std::string read_;
};

}  // namespace handoff::benchmark

#endif  // TESTS_BENCHMARK_HANDOFFS_PROGRAM_H_
