#include "tests/process/crash_cell.h"

#include <poll.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tests/process/crash_run.h"

namespace handoff::toy {
namespace {

using Table = std::map<std::string, int>;

// The first deadlines that are meant to expire, and how often they are made
// three times as long because the machine was too slow for them.
constexpr absl::Duration kShortDeadline = absl::Milliseconds(300);
constexpr int kStretches = 4;

// "received pre-copied" as "ReceivedPreCopied".
std::string CamelCase(const std::string& words) {
  std::string name;
  const std::vector<std::string> parts =
      absl::StrSplit(words, absl::ByAnyChar(" -"));
  for (std::string word : parts) {
    word[0] = absl::ascii_toupper(word[0]);
    name += word;
  }
  return name;
}

// The table once it has been the same for a while.
Table StableTable(pid_t pid) {
  Table table;
  for (int same = 0; same < 50;) {
    const Table next = DescriptorTable(pid);
    same = next == table ? same + 1 : 0;
    table = next;
    ::poll(nullptr, 0, 2);
  }
  return table;
}

// The steps that `p` has said since `from`, which moves on.
std::vector<std::string> StepsOf(const ToyProcess& p, size_t& from) {
  std::vector<std::string> steps;
  for (; from < p.lines().size(); ++from) {
    absl::string_view line = p.lines()[from];
    if (absl::ConsumePrefix(&line, "step ")) steps.emplace_back(line);
  }
  return steps;
}

}  // namespace

void CellRun::RecordInto(Recorded& recorded) {
  first_ = StartFirst();
  ASSERT_TRUE(first_->WaitReady()) << Said();
  traffic_ = std::make_unique<Traffic>(first_->port());
  ASSERT_TRUE(traffic_->WaitUnderWay()) << Said();
  ASSERT_TRUE(traffic_->PauseShort());
  if (recorded.alone.empty()) recorded.alone = StableTable(first_->pid());
  traffic_->ResumeShort();
  FirstHandoff();
  // The last steps on each thread.
  std::vector<std::string> last = {"step hook thaw", "step state ended"};
  if (cell_.course == Course::kCommits) last = {"step sent released"};
  if (cell_.course == Course::kRollsBack) last.push_back("step hook take-back");
  ASSERT_TRUE(Hear([&] {
    return std::all_of(last.begin(), last.end(),
                       [&](const auto& step) { return first_->Has(step); }) &&
           (second_->Ended() || second_->Has("step state released"));
  })) << Said();
  ASSERT_TRUE(traffic_->WaitProgress());
  ASSERT_TRUE(traffic_->PauseShort());
  Hear([] { return true; });

  size_t first_lines = 0;
  size_t second_lines = 0;
  const auto add = [&](const std::string& step, bool predecessor, bool next) {
    // Every handoff goes as the first one does until it takes its own course.
    // The successor that is killed then takes no step of its own.
    if (cell_.course == Course::kRollsBack && !predecessor) return;
    if (cell_.course != Course::kCommits && step != "state ended" &&
        std::any_of(recorded.steps.begin(), recorded.steps.end(),
                    [&](const Cell& known) {
                      return known.course == Course::kCommits &&
                             known.at_predecessor == predecessor &&
                             known.step == step;
                    })) {
      return;
    }
    Cell cell = cell_;
    cell.step = step;
    cell.at_predecessor = predecessor;
    cell.in_next_handoff = next;
    recorded.steps.push_back(cell);
  };
  std::set<std::string> predecessor_steps;
  for (const std::string& step : StepsOf(*first_, first_lines)) {
    add(step, true, false);
    predecessor_steps.insert(step);
  }
  for (const std::string& step : StepsOf(*second_, second_lines)) {
    add(step, false, false);
  }
  if (cell_.course != Course::kCommits) return;
  recorded.watched = StableTable(second_->pid());
  traffic_->ResumeShort();
  NextHandoff();
  ASSERT_TRUE(Hear([&] { return first_->Ended() && second_->Ended(); }))
      << Said();
  for (const std::string& step : StepsOf(*first_, first_lines)) {
    predecessor_steps.insert(step);
    add(step, true, true);
  }
  // What the second does as a predecessor is what the first did.
  for (const std::string& step : StepsOf(*second_, second_lines)) {
    if (predecessor_steps.count(step) == 0 || step == "state ended") {
      add(step, false, true);
    }
  }
}

std::string Cell::Name() const {
  return absl::StrCat(course == Course::kCommits           ? ""
                      : course == Course::kSuccessorAborts ? "SuccessorAborts_"
                      : course == Course::kPredecessorAborts
                          ? "PredecessorAborts_"
                          : "RollsBack_",
                      at_predecessor ? "Predecessor_" : "Successor_",
                      CamelCase(step), "_", CamelCase(fault));
}

Recorded Record() {
  Recorded recorded;
  for (const Course course : {Course::kCommits, Course::kSuccessorAborts,
                              Course::kPredecessorAborts, Course::kRollsBack}) {
    Cell cell;
    cell.course = course;
    CellRun(cell, kShortDeadline).RecordInto(recorded);
  }
  return recorded;
}

std::vector<Cell> AllCells(const Recorded& recorded) {
  std::vector<Cell> cells;
  for (Cell cell : recorded.steps) {
    const std::string out_of_memory = cell.at_predecessor ? "files" : "memory";
    for (const std::string& fault : std::vector<std::string>{
             "kill", "stop", "close", "delay", "descriptors", out_of_memory}) {
      cell.fault = fault;
      cells.push_back(cell);
    }
  }
  // The order in which two threads take their steps is not always the same;
  // each shard has to have the same one.
  std::sort(cells.begin(), cells.end(),
            [](const Cell& a, const Cell& b) { return a.Name() < b.Name(); });
  return cells;
}

void RunCell(const Cell& cell, const Recorded& recorded) {
  absl::Duration deadline = kShortDeadline;
  for (int i = 0; i < kStretches; ++i, deadline *= 3) {
    if (CellRun(cell, deadline).Run(recorded)) return;
  }
  ADD_FAILURE() << "the step was never reached, with deadlines of "
                << absl::FormatDuration(deadline / 3);
}

}  // namespace handoff::toy
