#ifndef TESTS_PROCESS_CRASH_CELL_H_
#define TESTS_PROCESS_CRASH_CELL_H_

#include <map>
#include <string>
#include <vector>

namespace handoff::toy {

// How the handoff would go if nothing failed.
enum class Course {
  kCommits,            // and the next one retires the predecessor
  kSuccessorAborts,    // its receiver fails when it is frozen
  kPredecessorAborts,  // its blob cannot be saved when it is frozen
  kRollsBack,          // the successor is killed within the watch
};

// One fault, at the first time that one process reaches one step.
struct Cell {
  Course course = Course::kCommits;
  bool at_predecessor = false;
  std::string step;
  // The step is taken when the successor has a successor itself.
  bool in_next_handoff = false;
  std::string fault;  // as in fault.h

  std::string Name() const;
};

// What undisturbed handoffs under traffic are like.
struct Recorded {
  // Every step, without faults.
  std::vector<Cell> steps;
  // What a process has open that serves the tracked connections and is neither
  // watched nor watches; and one whose predecessor watches it.
  std::map<std::string, int> alone;
  std::map<std::string, int> watched;
  // Why it could not be recorded.
  std::string error;
};
Recorded Record();

// Every fault at every step.
std::vector<Cell> AllCells(const Recorded& recorded);

// Runs a handoff with the fault, then an undisturbed one, under traffic, and
// fails the test where anything is not as promised.
void RunCell(const Cell& cell, const Recorded& recorded);

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_CRASH_CELL_H_
