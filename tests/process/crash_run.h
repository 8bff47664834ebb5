#ifndef TESTS_PROCESS_CRASH_RUN_H_
#define TESTS_PROCESS_CRASH_RUN_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "tests/process/crash_cell.h"
#include "tests/process/toy_process.h"
#include "tests/process/traffic.h"

namespace handoff::toy {

// One run of a cell: a first process, the second that takes over from it while
// one of them fails, and a third that takes over from whoever serves then.
class CellRun {
 public:
  CellRun(const Cell& cell, absl::Duration short_deadline)
      : cell_(cell), short_deadline_(short_deadline) {}

  // The parts of Record().
  void RecordInto(Recorded& recorded);

  // False where the fault was never reached, because a short deadline expired
  // before.
  bool Run(const Recorded& recorded);

 private:
  bool Disturbs(const std::string& fault) const { return cell_.fault == fault; }
  Settings With(bool faulty, Settings more) const;
  std::unique_ptr<ToyProcess> StartFirst();
  std::unique_ptr<ToyProcess> StartSecond();
  bool Hear(const std::function<bool()>& done);
  bool Reached() const;
  void ContinueIfDue();
  void Lift();
  ToyProcess* Serving() const;
  void FirstHandoff();
  void NextHandoff();
  bool CheckServed(ToyProcess* by);
  void CheckTable(ToyProcess& process, const std::map<std::string, int>& usual);
  void CheckClients();
  std::string Said();

  const Cell cell_;
  const absl::Duration short_deadline_;
  ShortFolder folder_;
  std::unique_ptr<ToyProcess> first_;
  std::unique_ptr<ToyProcess> second_;
  std::unique_ptr<ToyProcess> third_;
  std::vector<std::unique_ptr<ToyProcess>> failed_;
  ToyProcess* faulty_ = nullptr;
  std::unique_ptr<Traffic> traffic_;
  const Recorded* recorded_ = nullptr;
  bool continued_ = false;
  bool missed_ = false;
  bool down_ = false;  // nobody served for a while
};

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_CRASH_RUN_H_
